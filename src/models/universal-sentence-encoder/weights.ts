/** The trained weights as tensors, in the order in which the forward pass uses them. */
import { ParseError } from '../../errors';
import type { Runtime } from '../../runtime/runtime';
import type { Shape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { ModelContent } from './files';

/** x -> x kernel + bias; kernel [c, e], bias [e]. */
export interface Dense {
  readonly kernel: Tensor;
  readonly bias: Tensor;
}

/** Layer normalisation; both [c]. */
export interface Norm {
  readonly gain: Tensor;
  readonly bias: Tensor;
}

/** A transformer layer from width w (256, then 512) to 512, with norms before its two halves. */
export interface Layer {
  readonly attentionNorm: Norm;
  /** w -> w each. */
  readonly query: Dense;
  readonly key: Dense;
  readonly value: Dense;
  /** w -> 512. */
  readonly output: Dense;
  /** w -> 512, in the layer whose input is narrower than its output. */
  readonly residual?: Dense;
  readonly feedForwardNorm: Norm;
  /** 512 -> 1536 -> 512. */
  readonly inner: Dense;
  readonly outer: Dense;
}

export interface Weights {
  /** [TOKENS, 256] */
  readonly embeddings: Tensor;
  /** Radians per position of the 128 pairs of sine and cosine that mark positions. */
  readonly positionRates: Float32Array;
  readonly layers: readonly [Layer, Layer];
  /** 512 -> 512, from the mean of the last layer's rows. */
  readonly sentence: Dense;
  dispose(): void;
}

export const TOKENS = 8002;
export const EMBEDDING_WIDTH = 256;
export const WIDTH = 512;
const INNER_WIDTH = 1536;

const GRAPH = 'module_apply_default/Encoder_en/KonaTransformer/Encode';
const VARIABLES = 'module/Encoder_en/KonaTransformer/Encode';

/** Copies the weights to `runtime`, where they stay until `dispose()`. */
export function loadWeights(runtime: Runtime, content: ModelContent): Weights {
  const tensors: Tensor[] = [];
  const own = (tensor: Tensor) => {
    tensors.push(tensor);
    return tensor;
  };
  const dispose = () => {
    for (const tensor of tensors) tensor.dispose();
  };
  /** The weight `name`, whose shape in the file may have further axes of extent 1 in front. */
  const load = (name: string, shape: Shape, stored: Shape = shape) =>
    own(runtime.tensor(content.weight(name, stored), shape));
  const dense = (kernel: string, bias: string, from: number, to: number, axes: Shape = []): Dense => ({
    kernel: load(kernel, [from, to], [...axes, from, to]),
    bias: load(bias, [to]),
  });
  const norm = (path: string, width: number): Norm => ({
    gain: load(`${path}/layer_prepostprocess/layer_norm/layer_norm_scale/ConcatPartitions/concat`, [width]),
    bias: load(`${path}/layer_prepostprocess/layer_norm/layer_norm_bias/ConcatPartitions/concat`, [width]),
  });
  const layer = (index: 0 | 1, width: number): Layer => {
    const path = `Layer_${index}/TransformerLayer`;
    const projection = (name: string, to: number) =>
      dense(
        `${VARIABLES}/${path}/MultiheadAttention/${name}/kernel/part_0`,
        `${GRAPH}/${path}/MultiheadAttention/${name}/bias/ConcatPartitions/concat`,
        width,
        to,
        [1, 1],
      );
    const feedForward = (name: string, from: number, to: number) =>
      dense(
        `${GRAPH}/TransformerStack/${path}/FFN/${name}/Tensordot/Reshape_1`,
        `${GRAPH}/${path}/FFN/${name}/bias/ConcatPartitions/concat`,
        from,
        to,
      );
    const fused = projection('qkv_transform_single', 3 * width);
    const third = (part: number): Dense => ({
      kernel: own(fused.kernel.slice(1, part * width, (part + 1) * width)),
      bias: own(fused.bias.slice(0, part * width, (part + 1) * width)),
    });
    const adjust = `${GRAPH}/${path}/dense`;
    return {
      attentionNorm: norm(`${GRAPH}/${path}`, width),
      query: third(0),
      key: third(1),
      value: third(2),
      output: projection('output_transform_single', WIDTH),
      ...(width !== WIDTH && {
        residual: dense(
          `${adjust}/kernel/ConcatPartitions/concat`,
          `${adjust}/bias/ConcatPartitions/concat`,
          width,
          WIDTH,
        ),
      }),
      feedForwardNorm: norm(`${GRAPH}/${path}/FFN`, WIDTH),
      inner: feedForward('conv1', WIDTH, INNER_WIDTH),
      outer: feedForward('conv2', INNER_WIDTH, WIDTH),
    };
  };

  if (content.vocabulary.length > TOKENS)
    throw new ParseError(`vocab.json must have at most ${TOKENS} pieces, got ${content.vocabulary.length}`);
  try {
    return {
      embeddings: load('module/Embeddings_en', [TOKENS, EMBEDDING_WIDTH]),
      positionRates: content
        .weight(`${GRAPH}/TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`, [1, EMBEDDING_WIDTH / 2])
        .slice(),
      layers: [layer(0, EMBEDDING_WIDTH), layer(1, WIDTH)],
      sentence: dense(
        'module/Encoder_en/hidden_layers/tanh_layer_0/weights',
        'module/Encoder_en/hidden_layers/tanh_layer_0/bias',
        WIDTH,
        WIDTH,
      ),
      dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}
