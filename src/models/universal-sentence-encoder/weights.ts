/** The weights by their names in the published graph, in the order in which the forward pass uses them. */
import type { Described, ModuleParameter } from '../../nn/module';
import type { Shape } from '../../tensor/shape';

/** x -> x kernel + bias: the names of kernel [from, to] and bias [to]. */
export interface Dense {
  readonly kernel: string;
  readonly bias: string;
}

/** Layer normalisation: the names of two weights [c]. */
export interface Norm {
  readonly gain: string;
  readonly bias: string;
}

/** A transformer layer from width w (256, then 512) to 512, with norms before its two halves. */
export interface Layer {
  readonly attentionNorm: Norm;
  /** w -> 3 w: queries, keys and values. */
  readonly qkv: Dense;
  /** w -> 512. */
  readonly output: Dense;
  /** w -> 512, in the layer whose input is narrower than its output. */
  readonly residual?: Dense;
  readonly feedForwardNorm: Norm;
  /** 512 -> 1536 -> 512. */
  readonly inner: Dense;
  readonly outer: Dense;
}

export const TOKENS = 8002;
const EMBEDDING_WIDTH = 256;
export const WIDTH = 512;
const INNER_WIDTH = 1536;

const GRAPH = 'module_apply_default/Encoder_en/KonaTransformer/Encode';
const VARIABLES = 'module/Encoder_en/KonaTransformer/Encode';

const described: Record<string, ModuleParameter> = {};

function weight(name: string, shape: Shape, initial: ModuleParameter['initial']): string {
  described[name] = { shape, initial };
  return name;
}

const dense = (kernel: string, bias: string, from: number, to: number): Dense => ({
  kernel: weight(kernel, [from, to], { std: from ** -0.5 }),
  bias: weight(bias, [to], { value: 0 }),
});

const norm = (path: string, width: number): Norm => ({
  gain: weight(`${path}/layer_prepostprocess/layer_norm/layer_norm_scale/ConcatPartitions/concat`, [width], {
    value: 1,
  }),
  bias: weight(`${path}/layer_prepostprocess/layer_norm/layer_norm_bias/ConcatPartitions/concat`, [width], {
    value: 0,
  }),
});

function layer(index: 0 | 1, width: number): Layer {
  const path = `Layer_${index}/TransformerLayer`;
  const partitions = (of: string) => `${GRAPH}/${path}/${of}/ConcatPartitions/concat`;
  const projection = (name: string, to: number) =>
    dense(
      `${VARIABLES}/${path}/MultiheadAttention/${name}/kernel/part_0`,
      partitions(`MultiheadAttention/${name}/bias`),
      width,
      to,
    );
  const feedForward = (name: string, from: number, to: number) =>
    dense(
      `${GRAPH}/TransformerStack/${path}/FFN/${name}/Tensordot/Reshape_1`,
      partitions(`FFN/${name}/bias`),
      from,
      to,
    );
  return {
    attentionNorm: norm(`${GRAPH}/${path}`, width),
    qkv: projection('qkv_transform_single', 3 * width),
    output: projection('output_transform_single', WIDTH),
    ...(width !== WIDTH && { residual: dense(partitions('dense/kernel'), partitions('dense/bias'), width, WIDTH) }),
    feedForwardNorm: norm(`${GRAPH}/${path}/FFN`, WIDTH),
    inner: feedForward('conv1', WIDTH, INNER_WIDTH),
    outer: feedForward('conv2', INNER_WIDTH, WIDTH),
  };
}

const PAIRS = EMBEDDING_WIDTH / 2;
/** Radians per position of the pairs of sine and cosine that mark positions: [128], not trained. */
export const RATES = weight(`${GRAPH}/TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`, [PAIRS], {
  values: Array.from({ length: PAIRS }, (_, pair) => 10_000 ** (-pair / (PAIRS - 1))),
});
described[RATES] = { ...(described[RATES] as ModuleParameter), isBuffer: true };

/** [TOKENS, 256] */
export const EMBEDDINGS = weight('module/Embeddings_en', [TOKENS, EMBEDDING_WIDTH], { std: 1 });

export const LAYERS: readonly [Layer, Layer] = [layer(0, EMBEDDING_WIDTH), layer(1, WIDTH)];

/** 512 -> 512, from the mean of the last layer's rows. */
export const SENTENCE = dense(
  'module/Encoder_en/hidden_layers/tanh_layer_0/weights',
  'module/Encoder_en/hidden_layers/tanh_layer_0/bias',
  WIDTH,
  WIDTH,
);

/** Shapes and initial values of all, by name. */
export const PARAMETERS: Described = described;
