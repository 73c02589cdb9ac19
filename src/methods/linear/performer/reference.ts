/** What `performer` computes, pair by pair in float64; only the random directions are those of the fast path. */
import { drawDirections } from '../../../feature-maps/draw';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { dotAt } from '../../weights';
import type { PerformerParams } from './settings';

type Inputs = Readonly<Record<'q' | 'k' | 'v', HostTensor>>;
type Result = HostTensor<'f64'> & { readonly data: Float64Array };

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
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const [queries, keys] = [new Features('q', q, params), new Features('k', k, params)];
  const phiOfKeys = keys.all('heads').data;
  const values = toFloat64(v);
  const byOut = gradOut && toFloat64(gradOut);
  const [out, gradV] = [zeros([b, n, h, e]), zeros(v.shape)];
  for (let row = 0; row < b * n * h; row++) {
    const batch = Math.floor(row / (n * h));
    const i = Math.floor(row / h) % n;
    const group = Math.floor(((row % h) * g) / h);
    const phiQ = queries.of(row, queries.largest(row));
    const seen = params.causal ? i + 1 : m;
    const rows = Array.from({ length: seen }, (_, j) => (batch * m + j) * g + group);
    const phiK = rows.map((at) => phiOfKeys.subarray(at * phiQ.length, (at + 1) * phiQ.length));
    const weights = phiK.map((phi) => dot(phiQ, phi));
    const denominator = weights.reduce((a, c) => a + c, params.epsilon);
    const result = out.data.subarray(row * e, (row + 1) * e);
    rows.forEach((at, j) => {
      addTo(result, values.subarray(at * e, (at + 1) * e), (weights[j] as number) / denominator);
    });
    if (!byOut) continue;
    const grad = byOut.subarray(row * e, (row + 1) * e);
    const mean = dot(grad, result);
    const gradPhiQ = new Float64Array(phiQ.length);
    rows.forEach((at, j) => {
      const byWeight = (dot(grad, values.subarray(at * e, (at + 1) * e)) - mean) / denominator;
      addTo(gradV.data.subarray(at * e, (at + 1) * e), grad, (weights[j] as number) / denominator);
      addTo(gradPhiQ, phiK[j] as Float64Array, byWeight);
      keys.addGradient(at, phiK[j] as Float64Array, phiQ, byWeight);
    });
    queries.addGradient(row, phiQ, gradPhiQ, 1);
  }
  if (!byOut) return { out };
  return { out, grad_q: queries.gradient, grad_k: keys.gradient, grad_v: gradV };
}

/** The features of keys that were asked for last: settings that differ in what is seen share them. */
const latest = new WeakMap<HostTensor, { readonly settings: string; readonly phi: Result }>();

/** phi of the queries and keys, [b, n, h, features] and [b, m, g, features]. */
export function featuresOf({ q, k }: Omit<Inputs, 'v'>, params: PerformerParams): Record<'q' | 'k', Result> {
  const settings = JSON.stringify({ ...params, causal: undefined, epsilon: undefined });
  const known = latest.get(k);
  const phi = known?.settings === settings ? known.phi : new Features('k', k, params).all('heads');
  latest.set(k, { settings, phi });
  return { q: new Features('q', q, params).all('rows'), k: phi };
}

/** The features of the rows of a tensor, and its gradient. */
class Features {
  /** w_f x - |x|^2 / 2, with the kernel `relu` w_f x, [rows, features]. */
  readonly exponents: Float64Array;
  readonly gradient: Result;
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
    this.gradient = zeros(tensor.shape);
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

  /** Of all rows of the row's batch and head. */
  largestOfHead(row: number): number {
    return this.#largest[this.#headOf(row)] as number;
  }

  of(row: number, shift: number): Float64Array {
    const exponents = this.exponents.subarray(row * this.#count, (row + 1) * this.#count);
    if (this.#isRelu) return exponents.map((value) => Math.sqrt(2 / this.#count) * (Math.max(0, value) + 1e-3));
    return exponents.map((value) => Math.exp(value - shift) / Math.sqrt(this.#count));
  }

  /** All rows, each with a shift of its own or with that of its head. */
  all(shifts: 'rows' | 'heads'): Result {
    const rows = this.exponents.length / this.#count;
    const data = new Float64Array(this.exponents.length);
    for (let row = 0; row < rows; row++) {
      const shift = shifts === 'heads' ? this.largestOfHead(row) : this.largest(row);
      data.set(this.of(row, shift), row * this.#count);
    }
    return { dtype: 'f64', shape: [...this.#shape.slice(0, 3), this.#count], data };
  }

  /** By x of a loss whose gradient with respect to phi(x) is `weight` times `gradPhi`. */
  addGradient(row: number, phi: Float64Array, gradPhi: Float64Array, weight: number): void {
    const into = this.gradient.data.subarray(row * this.#d, (row + 1) * this.#d);
    phi.forEach((value, f) => {
      const byPhi = weight * (gradPhi[f] as number) * this.factor;
      if (this.#isRelu) {
        const isPositive = (this.exponents[row * this.#count + f] as number) > 0;
        addTo(into, this.#direction(f), isPositive ? byPhi * Math.sqrt(2 / this.#count) : 0);
        return;
      }
      addTo(into, this.#direction(f), byPhi * value);
      addTo(into, this.#row(row), -byPhi * value);
    });
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

function zeros(shape: readonly number[]): Result {
  return { dtype: 'f64', shape, data: new Float64Array(shape.reduce((a, extent) => a * extent, 1)) };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] as number);
  return sum;
}

function addTo(into: Float64Array, x: Float64Array, factor: number): void {
  for (let at = 0; at < x.length; at++) into[at] = (into[at] as number) + factor * (x[at] as number);
}
