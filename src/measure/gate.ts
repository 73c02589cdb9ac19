/** The gate before any speed is reported: results are checked against the float64 reference, long ones in part. */
import { BackendError } from '../errors';
import type { Mask } from '../masks/mask';
import { type Modifier, softmaxAttention } from '../ops/attention/softmax';
import type { HostDType } from '../tensor/dtype';
import { type HostTensor, pickRows, toFloat64 } from '../tensor/host';

/**
 * Largest relative error allowed. In f16 and bf16 a result, which is a mean of values, may also be off by two roundings: its
 * own, and that of the weights before the product with the values, as on tensor cores.
 */
const TOLERANCE: Partial<Record<HostDType, number>> = { f32: 1e-5, f16: 1e-5 + 2 ** -10, bf16: 1e-5 + 2 ** -7 };

/** Known numbers of a result, from index `at` on. */
export interface Known {
  readonly at: number;
  readonly numbers: ArrayLike<number>;
}

/** Known numbers whose errors are relative to the same number. */
export interface Expected {
  readonly known: readonly Known[];
  readonly largest: number;
  /** What `largest` is, such as `largest |v|`. */
  readonly of: string;
  /** Absolute error by rounding, if that follows from the inputs; default 0. */
  readonly rounding?: number;
}

/** A wrong result, whose speed must not be reported. */
export class WrongResultError extends BackendError {
  override name = 'WrongResultError';
}

/**
 * The largest relative error of a result.
 * @throws {WrongResultError} if it is more than the result's dtype and rounding allow
 */
export function checkResult(
  label: string,
  result: ArrayLike<number>,
  expected: readonly Expected[],
  dtype: HostDType = 'f32',
): number {
  return expected.reduce((most, { known, largest, of, rounding = 0 }) => {
    const allowed = (TOLERANCE[dtype] as number) + rounding / (largest || 1);
    // NaN stays, and is worse than any error.
    const error = known.reduce((worst, each) => Math.max(worst, errorOf(result, each)), 0) / (largest || 1);
    if (error <= allowed) return Math.max(most, error);
    throw new WrongResultError(
      `${label} differs from the float64 reference by ${error.toPrecision(2)} of the ${of}, allowed are ${Number(allowed.toPrecision(2))}: its speed is not reported`,
    );
  }, 0);
}

function errorOf(result: ArrayLike<number>, { at, numbers }: Known): number {
  let worst = 0;
  for (let i = 0; i < numbers.length; i++)
    worst = Math.max(worst, Math.abs((result[at + i] as number) - (numbers[i] as number)));
  return worst;
}

export interface HostQkv {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
}

/** The result of exact attention under a mask for some of the queries q [b, n, h, d]. */
export function expectedAttention(
  { q, k, v }: HostQkv,
  queries: readonly number[],
  { mask, scale, modifier }: { readonly mask: Mask; readonly scale: number; readonly modifier?: Modifier | undefined },
): Expected {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const { data } = softmaxAttention(
    { q: pickRows(q, queries), k, v },
    scale,
    (at, j, head, batch) => mask.sees(queries[at] as number, j, { b, n, m, h, g, head, batch }),
    modifier,
  ).out;
  const row = h * (v.shape[3] as number);
  const known = Array.from({ length: b * queries.length }, (_, i) => ({
    at: (Math.floor(i / queries.length) * n + (queries[i % queries.length] as number)) * row,
    numbers: data.subarray(i * row, (i + 1) * row),
  }));
  return { known, largest: largestOf(toFloat64(v)), of: 'largest |v|' };
}

/** Queries on which attention is checked during other work. */
const QUERIES = 6;

/** Largest error of attention's `out` [b, n, h, e] over the largest |v|, on queries spread from the first to the last; as `checkResult`. */
export function checkAttention(label: string, inputs: HostQkv, out: HostTensor, mask: Mask, scale: number): number {
  const expected = expectedAttention(inputs, spreadOver(inputs.q.shape[1] as number, QUERIES), { mask, scale });
  return checkResult(label, toFloat64(out), [expected], out.dtype);
}

/** At most `count` different indices below n, evenly from the first to the last. */
export function spreadOver(n: number, count: number): number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.round((i * (n - 1)) / (count - 1)));
}

export function largestOf(numbers: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < numbers.length; i++) largest = Math.max(largest, Math.abs(numbers[i] as number));
  return largest;
}
