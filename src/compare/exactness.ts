/** The gate before any speed is reported: the fast kernel against the float64 reference, on a few queries. */
import { BackendError } from '../errors';
import type { Mask } from '../masks/mask';
import { softmaxAttention } from '../runtime/reference/attention';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';

/** How far results may be from float64, over the largest |v|, by the dtype they are stored in. */
const TOLERANCE = { f32: 1e-5, f16: 2e-3, bf16: 2e-2 } as const;
const QUERIES = 12;

export interface HostQkv {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
}

/**
 * Largest error of `out` [b, n, h, e] over the largest |v|, on queries spread from the first to the last.
 * @throws {BackendError} if it is beyond what the dtype of `out` allows: then no speed of it is worth reporting
 */
export function checkExactness(
  label: string,
  { q, k, v }: HostQkv,
  out: HostTensor,
  mask: Mask,
  scale: number,
): number {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const queries = spread(n, QUERIES);
  const { out: expected } = softmaxAttention({ q: pick(q, queries), k, v }, scale, (at, j, head, batch) =>
    mask.sees(queries[at] as number, j, { b, n, m, h, g, head, batch }),
  );
  const actual = pick(out, queries).data;
  let largest = 0;
  for (let at = 0; at < actual.length; at++) {
    const error = Math.abs((actual[at] as number) - (expected.data[at] as number));
    largest = Math.max(largest, error);
  }
  const error = largest / (toFloat64(v).reduce((max, value) => Math.max(max, Math.abs(value)), 0) || 1);
  const allowed = TOLERANCE[out.dtype as keyof typeof TOLERANCE];
  if (!(error <= allowed)) {
    throw new BackendError(
      `${label} differs from the float64 reference by ${error} of the largest |v|, allowed are ${allowed}: its speed is not reported`,
    );
  }
  return error;
}

/** At most `count` different indices below n, evenly from the first to the last. */
function spread(n: number, count: number): number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.round((i * (n - 1)) / (count - 1)));
}

/** The given queries of x [b, n, h, c], as float64. */
function pick(x: HostTensor, queries: readonly number[]): HostTensor<'f64'> {
  const [b, n, h, c] = x.shape as [number, number, number, number];
  const row = h * c;
  const source = toFloat64(x);
  const picked = new Float64Array(b * queries.length * row);
  for (let batch = 0; batch < b; batch++) {
    queries.forEach((query, at) => {
      const from = (batch * n + query) * row;
      picked.set(source.subarray(from, from + row), (batch * queries.length + at) * row);
    });
  }
  return hostTensor(picked, [b, queries.length, h, c], 'f64');
}
