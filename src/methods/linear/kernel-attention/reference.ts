/** What `kernel-attention` computes, token by token in float64; only the random directions are those of the fast path. */
import { drawDirections } from '../../../feature-maps/draw';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, dot, pairSums, type Wide, zeros } from '../../reference';
import type { KernelAttentionParams, Named } from './settings';

type Inputs = Named<HostTensor>;

/**
 * phi(x)_i = f^-1/2 exp(w_i x - |x|^2 / 2) for x over d^1/4. With the norm `maximum` the exponent loses the largest w_i x,
 * of a query its own, of keys that of all keys of their head, and the exponential gains 1e-6; `unit` is phi / |phi|. In
 * gradients the maxima are constants.
 *
 * layer: out_i = sum_j a_ij v_j / (sum_j a_ij + epsilon) with a_ij = phi(q_i) . phi(k_j).
 * advisor: out_i = S phi(q_i), after S = S + beta ((1 + alpha) v_j - S phi(k_j)) phi(k_j)^T for each token j in turn.
 */
export function reference(
  inputs: Inputs,
  params: KernelAttentionParams,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const { q, k, advisor, directions } = inputs;
  const w = directionsOf(inputs, params);
  const queries = new Features(q, w, 'queries', params);
  const keys = new Features(k, w, 'keys', params);
  const part = params.part === 'layer' ? layer : advise;
  const { results, gradV, gradAdvisor } = part(inputs, { queries, keys }, params, gradOut);
  if (!gradOut) return results;
  const gradW = zeros([w.length / (q.shape[3] as number), q.shape[3] as number]);
  return {
    ...results,
    grad_q: queries.backward(gradW.data),
    grad_k: keys.backward(gradW.data),
    grad_v: gradV,
    ...(advisor && { grad_advisor: gradAdvisor as Wide }),
    ...(directions && { grad_directions: gradW }),
  };
}

/** The features of queries and of keys. */
export function hostFeatures(inputs: Inputs, params: KernelAttentionParams): Record<'q' | 'k', HostTensor<'f64'>> {
  const w = directionsOf(inputs, params);
  return {
    q: new Features(inputs.q, w, 'queries', params).tensor(),
    k: new Features(inputs.k, w, 'keys', params).tensor(),
  };
}

/** The given directions, else Gaussian rows, or such rows with the lengths of others. */
function directionsOf(
  { q, directions }: Inputs,
  { features = 10, lengths, seed }: KernelAttentionParams,
): Float64Array {
  if (directions) return toFloat64(directions);
  const dimension = q.shape[3] as number;
  const times = lengths === 'once' ? 1 : 2;
  const rows = Float64Array.from(drawDirections(times * features, { dimension, features, seed, orthogonal: false }));
  return rows.subarray(0, features * dimension).map((value, at) => {
    const from = (features + Math.floor(at / dimension)) * dimension;
    return times === 1 ? value : value * Math.hypot(...rows.subarray(from, from + dimension));
  });
}

interface Both {
  readonly queries: Features;
  readonly keys: Features;
}
interface PartResult {
  readonly results: Record<string, Wide>;
  readonly gradV: Wide;
  readonly gradAdvisor?: Wide;
}

function layer(
  { v }: Inputs,
  { queries, keys }: Both,
  { epsilon }: KernelAttentionParams,
  gradOut?: HostTensor,
): PartResult {
  const phi = { q: queries.tensor(), k: keys.tensor() };
  const divide = (sum: number) => [sum + epsilon, 1] as const;
  const { out, gradQ, gradK, gradV } = pairSums({ ...phi, v, divide }, gradOut);
  addTo(queries.gradients, gradQ.data, 1);
  addTo(keys.gradients, gradK.data, 1);
  return { results: { out }, gradV };
}

function advise(
  { q, v, advisor }: Inputs,
  { queries, keys }: Both,
  params: KernelAttentionParams,
  gradOut: HostTensor | undefined,
): PartResult {
  const byOut = gradOut && toFloat64(gradOut);
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, , e] = v.shape as [number, number, number, number];
  const values = toFloat64(v);
  const f = queries.count;
  const { update, alpha, beta } = params;
  const [out, gradV, state, gradState] = [
    zeros([b, n, h, e]),
    zeros(v.shape),
    zeros([b, h, f, e]),
    zeros([b, h, f, e]),
  ];
  if (advisor) state.data.set(toFloat64(advisor));
  const step = update === 'mean' ? beta / m : beta;
  for (let head = 0; head < b * h; head++) {
    const rowOf = (tokens: number, token: number) => (Math.floor(head / h) * tokens + token) * h + (head % h);
    const of = (array: Float64Array, row: number) => array.subarray(row * e, (row + 1) * e);
    const part = (whole: Wide) => whole.data.subarray(head * f * e, (head + 1) * f * e);
    const [s, gradS] = [part(state), part(gradState)];
    const rows = Array.from({ length: m }, (_, j) => rowOf(m, j));
    // Tokens of a block see the same state.
    const blocks = { tokens: rows.map((row) => [row]), batch: [rows], mean: [rows], sum: [rows], frozen: [] }[update];
    const history: { readonly before: Float64Array; readonly errors: Float64Array[] }[] = [];
    for (const block of blocks) {
      const before = s.slice();
      const errors = block.map((row) =>
        Float64Array.from(of(values, row), (value, c) => {
          if (update === 'sum') return value;
          let old = 0;
          for (let i = 0; i < f; i++) old += (keys.row(row)[i] as number) * (before[i * e + c] as number);
          return step * ((1 + alpha) * value - old);
        }),
      );
      block.forEach((row, at) => {
        for (let i = 0; i < f; i++) addTo(of(s, i), errors[at] as Float64Array, keys.row(row)[i] as number);
      });
      history.push({ before, errors });
    }
    for (let token = 0; token < n; token++) {
      const row = rowOf(n, token);
      for (let i = 0; i < f; i++) {
        addTo(of(out.data, row), of(s, i), queries.row(row)[i] as number);
        if (!byOut) continue;
        queries.gradient(row)[i]! += dot(of(s, i), of(byOut, row));
        addTo(of(gradS, i), of(byOut, row), queries.row(row)[i] as number);
      }
    }
    if (!byOut) continue;
    for (let at = blocks.length - 1; at >= 0; at--) {
      const { before, errors } = history[at] as (typeof history)[number];
      const after = gradS.slice();
      (blocks[at] as number[]).forEach((row, j) => {
        const gradError = new Float64Array(e);
        for (let i = 0; i < f; i++) {
          keys.gradient(row)[i]! += dot(of(after, i), errors[j] as Float64Array);
          addTo(gradError, of(after, i), keys.row(row)[i] as number);
        }
        addTo(of(gradV.data, row), gradError, update === 'sum' ? 1 : step * (1 + alpha));
        if (update === 'sum') return;
        for (let i = 0; i < f; i++) {
          keys.gradient(row)[i]! -= step * dot(of(before, i), gradError);
          addTo(of(gradS, i), gradError, -step * (keys.row(row)[i] as number));
        }
      });
    }
  }
  return { results: { out, advisor: state }, gradV, gradAdvisor: gradState };
}

/** The features of the rows of a tensor, and gradients with respect to them. */
class Features {
  readonly count: number;
  readonly #d: number;
  readonly #shape: readonly number[];
  readonly #norm: KernelAttentionParams['norm'];
  /** x over d^1/4. */
  readonly #x: Float64Array;
  readonly #w: Float64Array;
  /** The exponentials, and phi. */
  readonly #exponentials: Float64Array;
  readonly #phi: Float64Array;
  /** Gradients with respect to the features. */
  readonly gradients: Float64Array;

  constructor(x: HostTensor, w: Float64Array, of: 'queries' | 'keys', { norm }: KernelAttentionParams) {
    this.#d = x.shape[3] as number;
    this.count = w.length / this.#d;
    this.#shape = x.shape;
    this.#norm = norm;
    this.#w = w;
    this.#x = toFloat64(x).map((value) => value / this.#d ** 0.25);
    const along = new Float64Array((this.#x.length / this.#d) * this.count);
    along.forEach((_, at) => {
      along[at] = dot(this.#direction(at % this.count), this.#point(Math.floor(at / this.count)));
    });
    const [, tokens, heads] = x.shape as [number, number, number];
    /** Features that share a shift: those of a query, or those of all keys of a head. */
    const shifted = (row: number) =>
      of === 'queries' ? row : Math.floor(row / (tokens * heads)) * heads + (row % heads);
    const largest: number[] = [];
    along.forEach((value, at) => {
      const name = shifted(Math.floor(at / this.count));
      largest[name] = Math.max(largest[name] ?? Number.NEGATIVE_INFINITY, value);
    });
    const root = Math.sqrt(this.count);
    this.#exponentials = along.map((value, at) => {
      const row = Math.floor(at / this.count);
      const point = this.#point(row);
      const shift = norm === 'maximum' ? (largest[shifted(row)] as number) : 0;
      return Math.exp(value - dot(point, point) / 2 - shift) / root;
    });
    this.#phi = this.#exponentials.map((value, at) => {
      if (norm === 'unit') return value / this.#length(Math.floor(at / this.count));
      return norm === 'maximum' ? value + 1e-6 / root : value;
    });
    this.gradients = new Float64Array(this.#phi.length);
  }

  tensor(): Wide {
    return { dtype: 'f64', shape: [...this.#shape.slice(0, 3), this.count], data: this.#phi };
  }

  row(row: number): Float64Array {
    return this.#phi.subarray(row * this.count, (row + 1) * this.count);
  }

  /** To be added to. */
  gradient(row: number): Float64Array {
    return this.gradients.subarray(row * this.count, (row + 1) * this.count);
  }

  /** The gradient with respect to x; adds that by the directions to `gradW`. */
  backward(gradW: Float64Array): Wide {
    const gradX = zeros(this.#shape);
    for (let row = 0; row < this.#x.length / this.#d; row++) {
      const [point, phi, grad] = [this.#point(row), this.row(row), this.gradient(row)];
      const into = gradX.data.subarray(row * this.#d, (row + 1) * this.#d);
      const along = dot(phi, grad);
      for (let i = 0; i < this.count; i++) {
        const value = this.#exponentials[row * this.count + i] as number;
        const gradValue =
          this.#norm === 'unit'
            ? ((grad[i] as number) - (phi[i] as number) * along) / this.#length(row)
            : (grad[i] as number);
        addTo(into, this.#direction(i), (gradValue * value) / this.#d ** 0.25);
        addTo(into, point, (-gradValue * value) / this.#d ** 0.25);
        addTo(gradW.subarray(i * this.#d, (i + 1) * this.#d), point, gradValue * value);
      }
    }
    return gradX;
  }

  #point(row: number): Float64Array {
    return this.#x.subarray(row * this.#d, (row + 1) * this.#d);
  }

  #direction(i: number): Float64Array {
    return this.#w.subarray(i * this.#d, (i + 1) * this.#d);
  }

  /** The length of a row's exponentials. */
  #length(row: number): number {
    const exponentials = this.#exponentials.subarray(row * this.count, (row + 1) * this.count);
    return Math.sqrt(dot(exponentials, exponentials));
  }
}
