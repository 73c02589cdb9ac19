/** The forward pass of the encoder on the rows of several sentences at once; only attention and means know sentences. */
import type { TrainableParameters } from '../../nn/module';
import { attention } from '../../ops/attention';
import { concat } from '../../ops/copy';
import { gather } from '../../ops/gather';
import { add, cos, multiply, relu, sin, tanh } from '../../ops/map';
import { map } from '../../ops/map/map';
import { matmul } from '../../ops/matmul';
import { layerNorm } from '../../ops/norm';
import { mean, sum } from '../../ops/reduce';
import type { Control } from '../../runtime/backend';
import type { Tensor } from '../../tensor/tensor';
import { type Dense, EMBEDDINGS, LAYERS, type Layer, type Norm, RATES, SENTENCE, WIDTH } from './weights';

/** Queries, keys and values of a layer of the encoder. */
export interface AttentionInputs {
  /** Each [1, n, HEADS, width / HEADS], contiguous; scores are scaled by 1 / sqrt(d). */
  readonly q: Tensor<'f32'>;
  readonly k: Tensor<'f32'>;
  readonly v: Tensor<'f32'>;
}

const HEADS = 4;
const EPSILON = 1e-6;

/**
 * The vectors of sentences, each of length 1: [sentences, 512]. `tokens` [n] i32 are those of sentences of these lengths one
 * after the other; the vector of an empty one is that of the mean 0.
 */
export function encode(
  weights: TrainableParameters,
  tokens: Tensor,
  lengths: readonly number[],
  control: Control,
): Tensor<'f32'> {
  return tokens.runtime.scope(() => {
    const means =
      tokens.size === 0 ? tokens.runtime.zeros([lengths.length, WIDTH]) : meansOf(weights, tokens, lengths, control);
    const activations = tanh(apply(weights, SENTENCE, means, control), control);
    const squares = sum(multiply(activations, activations), { axes: [1], keepDims: true });
    // The floor is the graph's, for rows of zeros.
    return multiply(activations, map((s) => 1 / Math.sqrt(Math.max(s, 1e-12)), squares) as Tensor);
  });
}

/** The means of what the last layer gives for the tokens of each sentence; zeros for those without. */
function meansOf(
  weights: TrainableParameters,
  tokens: Tensor,
  lengths: readonly number[],
  control: Control,
): Tensor<'f32'> {
  const present = lengths.filter((length) => length > 0);
  const rows = LAYERS.reduce(
    (x, layer) => applyLayer(weights, layer, x, present, control),
    embedTokens(weights, tokens, present),
  );
  let start = 0;
  const means = lengths.map((length) => {
    if (length === 0) return rows.runtime.zeros([1, WIDTH]);
    const own = rows.slice(0, start, start + length);
    start += length;
    return mean(own, { axes: [0], keepDims: true });
  });
  return concat(means, 0);
}

/** tokens [n], those of sentences of these lengths one after the other -> what the first layer takes, [n, 256]. */
export function embedTokens(weights: TrainableParameters, tokens: Tensor, lengths: readonly number[]): Tensor {
  const embedded = gather(weights[EMBEDDINGS] as Tensor, tokens);
  // The graph counts the embedding twice: in the sum with the positions and as the residual around that sum.
  return add(embedded, add(embedded, positionSignal(weights[RATES] as Tensor, lengths)));
}

/** x [n, w] -> q, k, v of the layer's attention. */
export function attentionInputsOf(
  weights: TrainableParameters,
  layer: Layer,
  x: Tensor,
  control: Control,
): AttentionInputs {
  const [rows, width] = x.shape as [number, number];
  return x.runtime.scope(() => {
    const normed = normalise(weights, layer.attentionNorm, x, control);
    const [kernel, bias] = [weights[layer.qkv.kernel] as Tensor, weights[layer.qkv.bias] as Tensor];
    const third = (part: number) => {
      const [from, to] = [part * width, (part + 1) * width];
      const projected = matmul(normed, kernel.slice(1, from, to), { bias: bias.slice(0, from, to), ...control });
      return projected.reshape([1, rows, HEADS, -1]);
    };
    return { q: third(0), k: third(1), v: third(2) };
  });
}

/** x [n, w] -> [n, 512]; progress is that of the attention, whose share grows with the length. */
export function applyLayer(
  weights: TrainableParameters,
  layer: Layer,
  x: Tensor,
  lengths: readonly number[],
  control: Control,
): Tensor {
  const { signal } = control;
  return x.runtime.scope(() => {
    const adjusted = apply(weights, layer.output, attend(weights, layer, x, lengths, control), { signal });
    const residual = layer.residual ? apply(weights, layer.residual, x, { signal }) : x;
    const between = add(adjusted, residual, { signal });
    const normed = normalise(weights, layer.feedForwardNorm, between, { signal });
    const inner = relu(apply(weights, layer.inner, normed, { signal }), { signal });
    return add(apply(weights, layer.outer, inner, { signal }), between, { signal });
  });
}

/** Softmax attention of each sentence to itself: x [n, w] -> [n, w]. */
function attend(weights: TrainableParameters, layer: Layer, x: Tensor, lengths: readonly number[], control: Control) {
  const { q, k, v } = attentionInputsOf(weights, layer, x, { signal: control.signal });
  const [first] = lengths as [number];
  if (lengths.every((length) => length === first)) {
    const batch = (each: Tensor) => each.reshape([lengths.length, first, ...each.shape.slice(2)]);
    return attention(batch(q), batch(k), batch(v), control).out.reshape(x.shape);
  }
  let start = 0;
  const outs = lengths.map((length) => {
    const own = (each: Tensor) => each.slice(1, start, start + length);
    const { out } = attention(own(q), own(k), own(v), control);
    start += length;
    return out as Tensor<'f32'>;
  });
  return concat(outs, 1).reshape(x.shape);
}

function apply(weights: TrainableParameters, { kernel, bias }: Dense, x: Tensor, control: Control): Tensor<'f32'> {
  return matmul(x, weights[kernel] as Tensor, { bias: weights[bias] as Tensor, ...control });
}

function normalise(weights: TrainableParameters, { gain, bias }: Norm, x: Tensor, control: Control): Tensor<'f32'> {
  return layerNorm(x, { ...control, gain: weights[gain], bias: weights[bias], epsilon: EPSILON });
}

/** Sines, then cosines, of each row's position in its sentence; [n, 256]. */
function positionSignal(rates: Tensor, lengths: readonly number[]): Tensor {
  const positions = Float32Array.from(lengths.flatMap((length) => [...Array(length).keys()]));
  const angles = multiply(rates.runtime.tensor(positions, [positions.length, 1]), rates);
  return concat([sin(angles), cos(angles)], 1);
}
