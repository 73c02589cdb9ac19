/** What `performer` computes, pair by pair in float64; only the random directions are those of the fast path. */
import { drawDirections } from '../../../feature-maps/draw';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { dotAt } from '../../../tensor/wide';
import { addTo, at, dot, pairSums, rowOf, type Wide, zeros } from '../../reference';
import type { PerformerParams } from './settings';

type Inputs = Readonly<Record<'q' | 'k' | 'v', HostTensor>>;

/**
 * phi(x)_f = m^-1/2 exp(w_f x - |x|^2 / 2 - shift) for x = |scale|^1/2 q (negated if scale is) and x = |scale|^1/2 k. The
 * shift of a query makes its largest exponent 0, that of the keys the largest of a head. With the kernel `relu` it is
 * (2/m)^1/2 (max(w_f x, 0) + 1e-3). Then
 * out_i = sum_j a_ij v_j / (sum_j a_ij + epsilon) for a_ij = phi(q_i) . phi(k_j), j <= i if causal.
 * In gradients the shifts are constants; without epsilon nothing depends on them.
 */
export function reference(
  { q, k, v }: Inputs,
  params: PerformerParams,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const [queries, keys] = [new Features('q', q, params), new Features('k', k, params)];
  const phi = { q: queries.all('rows'), k: keys.all('heads') };
  const m = k.shape[1] as number;
  const { out, gradQ, gradK, gradV } = pairSums(
    {
      ...phi,
      v,
      keys: (i) => [0, params.causal ? i + 1 : m],
      divide: (sum) => [sum + params.epsilon, 1],
    },
    gradOut,
  );
  if (!gradOut) return { out };
  return {
    out,
    grad_q: queries.backward(phi.q, gradQ),
    grad_k: keys.backward(phi.k, gradK),
    grad_v: gradV,
  };
}

/** The features of the rows of a tensor, and its gradient. */
class Features {
  /** w_f x - |x|^2 / 2, with the kernel `relu` w_f x, [rows, features]. */
  readonly exponents: Float64Array;
  readonly #shape: readonly number[];
  readonly #d: number;
  readonly #count: number;
  readonly #x: Float64Array;
  readonly #directions: Float64Array;
  readonly #isRelu: boolean;
  /** By what q and k are multiplied. */
  readonly factor: number;
  readonly #largest: readonly number[];

  constructor(of: 'q' | 'k', tensor: HostTensor, { kernel, features, orthogonal, seed, scale }: PerformerParams) {
    this.#shape = tensor.shape;
    this.#d = tensor.shape[3] as number;
    const d = this.#d;
    this.#isRelu = kernel === 'relu';
    this.#count = features ?? Math.max(1, Math.min(8192, Math.floor(d * Math.log(d))));
    const draw = { dimension: d, features: this.#count, orthogonal, seed };
    this.#directions = Float64Array.from(drawDirections(this.#count, draw));
    const score = scale ?? d ** -0.5;
    this.factor = (of === 'q' && score < 0 ? -1 : 1) * Math.sqrt(Math.abs(score));
    this.#x = toFloat64(tensor).map((value) => this.factor * value);
    this.exponents = new Float64Array((this.#x.length / this.#d) * this.#count);
    const largest: number[] = [];
    for (let row = 0; row < this.#x.length / this.#d; row++) {
      const x = this.#row(row);
      const half = this.#isRelu ? 0 : dot(x, x) / 2;
      for (let f = 0; f < this.#count; f++) {
        const along = dotAt(this.#directions, f * this.#d, this.#x, row * this.#d, this.#d);
        this.exponents[row * this.#count + f] = along - half;
      }
      largest[this.#headOf(row)] = Math.max(largest[this.#headOf(row)] ?? Number.NEGATIVE_INFINITY, this.largest(row));
    }
    this.#largest = largest;
  }

  largest(row: number): number {
    return Math.max(...this.exponents.subarray(row * this.#count, (row + 1) * this.#count));
  }

  /** The largest exponent of the row's batch and head. */
  largestOfHead(row: number): number {
    return this.#largest[this.#headOf(row)] as number;
  }

  of(row: number, shift: number): Float64Array {
    const exponents = this.exponents.subarray(row * this.#count, (row + 1) * this.#count);
    if (this.#isRelu) return exponents.map((value) => Math.sqrt(2 / this.#count) * (Math.max(0, value) + 1e-3));
    return exponents.map((value) => Math.exp(value - shift) / Math.sqrt(this.#count));
  }

  /** All rows, each with a shift of its own or with that of its head. */
  all(shifts: 'rows' | 'heads'): Wide {
    const rows = this.exponents.length / this.#count;
    const data = new Float64Array(this.exponents.length);
    for (let row = 0; row < rows; row++) {
      const shift = shifts === 'heads' ? this.largestOfHead(row) : this.largest(row);
      data.set(this.of(row, shift), row * this.#count);
    }
    return { dtype: 'f64', shape: [...this.#shape.slice(0, 3), this.#count], data };
  }

  /** The gradient with respect to x from that with respect to phi(x). */
  backward(phi: Wide, gradPhi: Wide): Wide {
    const gradient = zeros(this.#shape);
    phi.data.forEach((value, i) => {
      const row = Math.floor(i / this.#count);
      const into = rowOf(gradient.data, row, this.#d);
      const byPhi = at(gradPhi.data, i) * this.factor;
      if (this.#isRelu) {
        addTo(
          into,
          this.#direction(i % this.#count),
          at(this.exponents, i) > 0 ? byPhi * Math.sqrt(2 / this.#count) : 0,
        );
        return;
      }
      addTo(into, this.#direction(i % this.#count), byPhi * value);
      addTo(into, this.#row(row), -byPhi * value);
    });
    return gradient;
  }

  /** The number of its batch and head. */
  #headOf(row: number): number {
    const [, tokens, heads] = this.#shape as [number, number, number];
    return Math.floor(row / (tokens * heads)) * heads + (row % heads);
  }

  #row(row: number): Float64Array {
    return this.#x.subarray(row * this.#d, (row + 1) * this.#d);
  }

  #direction(f: number): Float64Array {
    return this.#directions.subarray(f * this.#d, (f + 1) * this.#d);
  }
}
