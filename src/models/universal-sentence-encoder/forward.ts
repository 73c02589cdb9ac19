/** The forward pass of the encoder on the rows of several sentences at once; only attention and means know sentences. */
import { attention } from '../../ops/attention';
import { gather } from '../../ops/gather';
import { add, relu } from '../../ops/map';
import { matmul } from '../../ops/matmul';
import { layerNorm } from '../../ops/norm';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import type { Tensor } from '../../tensor/tensor';
import { type Dense, EMBEDDING_WIDTH, type Layer, type Norm, type Weights } from './weights';

/** Queries, keys and values of a layer of the encoder. */
export interface AttentionInputs {
  /** Each [1, n, HEADS, width / HEADS], contiguous; scores are scaled by 1 / sqrt(d). */
  readonly q: Tensor<'f32'>;
  readonly k: Tensor<'f32'>;
  readonly v: Tensor<'f32'>;
}

const HEADS = 4;
const EPSILON = 1e-6;

/** tokens [n], those of sentences of these lengths one after the other -> what the first layer takes, [n, 256]. */
export function embedTokens(
  runtime: Runtime,
  weights: Weights,
  tokens: Int32Array,
  lengths: readonly number[],
): Tensor {
  using indices = runtime.tensor(tokens, [tokens.length]);
  using positions = runtime.tensor(positionSignal(weights.positionRates, lengths), [tokens.length, EMBEDDING_WIDTH]);
  using embedded = gather(weights.embeddings, indices);
  // The graph counts the embedding twice: in the sum with the positions and as the residual around that sum.
  using marked = add(embedded, positions);
  return add(embedded, marked);
}

/** x [n, w] -> q, k, v of the layer's attention. */
export function attentionInputsOf(layer: Layer, x: Tensor, control: Control): AttentionInputs {
  const rows = x.shape[0] as number;
  using normed = normalise(x, layer.attentionNorm, control);
  const made: Tensor<'f32'>[] = [];
  try {
    for (const projection of [layer.query, layer.key, layer.value]) {
      using projected = apply(projection, normed, control);
      made.push(projected.reshape([1, rows, HEADS, -1]));
    }
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
  const [q, k, v] = made as [Tensor<'f32'>, Tensor<'f32'>, Tensor<'f32'>];
  return { q, k, v };
}

/** x [n, w] -> [n, 512]; progress is that of the attention, whose share grows with the length. */
export function applyLayer(layer: Layer, x: Tensor, lengths: readonly number[], control: Control): Tensor {
  using attended = attentionHalf(layer, x, lengths, control);
  return feedForwardHalf(layer, attended, { signal: control.signal });
}

function attentionHalf(layer: Layer, x: Tensor, lengths: readonly number[], control: Control): Tensor {
  const { signal } = control;
  using attended = attend(layer, x, lengths, control);
  using adjusted = apply(layer.output, attended, { signal });
  using residual = layer.residual ? apply(layer.residual, x, { signal }) : x.reshape(x.shape);
  return add(adjusted, residual, { signal });
}

function feedForwardHalf(layer: Layer, x: Tensor, control: Control): Tensor {
  using normed = normalise(x, layer.feedForwardNorm, control);
  using active = applyRelu(layer.inner, normed, control);
  using outer = apply(layer.outer, active, control);
  return add(outer, x, control);
}

/** Softmax attention of each sentence to itself: x [n, w] -> [n, w]. */
function attend(layer: Layer, x: Tensor, lengths: readonly number[], control: Control): Tensor {
  const inputs = attentionInputsOf(layer, x, { signal: control.signal });
  using q = inputs.q;
  using k = inputs.k;
  using v = inputs.v;
  using out = q.runtime.empty(q.shape);
  let start = 0;
  for (const length of lengths) {
    const end = start + length;
    using queries = q.slice(1, start, end);
    using keys = k.slice(1, start, end);
    using values = v.slice(1, start, end);
    using part = out.slice(1, start, end);
    const { lse } = attention(queries, keys, values, { ...control, out: part });
    lse.dispose();
    start = end;
  }
  return out.reshape([start, -1]);
}

export function apply({ kernel, bias }: Dense, x: Tensor, control: Control): Tensor<'f32'> {
  using product = matmul(x, kernel, control);
  return add(product, bias, control);
}

function applyRelu(dense: Dense, x: Tensor, control: Control): Tensor {
  using sums = apply(dense, x, control);
  return relu(sums, control);
}

function normalise(x: Tensor, { gain, bias }: Norm, control: Control): Tensor<'f32'> {
  return layerNorm(x, { ...control, gain, bias, epsilon: EPSILON });
}

/** Sines, then cosines, of each row's position in its sentence; [n, 256]. */
function positionSignal(rates: Float32Array, lengths: readonly number[]): Float32Array {
  const longest = Math.max(...lengths);
  const table = new Float32Array(longest * EMBEDDING_WIDTH);
  for (let position = 0; position < longest; position++) {
    const row = table.subarray(position * EMBEDDING_WIDTH, (position + 1) * EMBEDDING_WIDTH);
    rates.forEach((rate, i) => {
      // Rounded to float32 as in the graph: far into a text the rounding shows.
      const angle = Math.fround(position * rate);
      row[i] = Math.sin(angle);
      row[rates.length + i] = Math.cos(angle);
    });
  }
  if (lengths.length === 1) return table;
  const signal = new Float32Array(lengths.reduce((sum, length) => sum + length, 0) * EMBEDDING_WIDTH);
  let offset = 0;
  for (const length of lengths) {
    signal.set(table.subarray(0, length * EMBEDDING_WIDTH), offset);
    offset += length * EMBEDDING_WIDTH;
  }
  return signal;
}
