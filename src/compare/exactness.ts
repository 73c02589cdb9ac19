/** The gate before any speed is reported: the fast kernel against the float64 reference, on a few queries. */
import { BackendError } from '../errors';
import type { Mask } from '../masks/mask';
import { pickQueries } from '../methods/weights';
import { softmaxAttention } from '../ops/attention/softmax';
import type { Control } from '../runtime/backend';
import { type HostTensor, toFloat64 } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import type { Qkv } from './compare';
import { type Contender, disposeAll } from './contenders';

/** How far results may be from float64, over the largest |v|, by the dtype they are stored in. */
const TOLERANCE = { f32: 1e-5, f16: 2e-3, bf16: 2e-2 } as const;
const QUERIES = 6;
/** Tokens on which methods that need training are checked: two chunks, or blocks, of most. */
const TOKENS = 96;

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
  const queries = someQueries(n, QUERIES);
  const { out: expected } = softmaxAttention({ q: pickQueries(q, queries), k, v }, scale, (at, j, head, batch) =>
    mask.sees(queries[at] as number, j, { b, n, m, h, g, head, batch }),
  );
  const actual = pickQueries(out, queries).data;
  let largest = 0;
  for (let at = 0; at < actual.length; at++) {
    const error = Math.abs((actual[at] as number) - (expected.data[at] as number));
    largest = Math.max(largest, error);
  }
  return allowedError(label, largest / (largestOf(v) || 1), { of: '|v|', dtype: out.dtype });
}

/**
 * Largest error of a method's result over the largest result, on the first tokens of q, k and v.
 * @throws {BackendError} if it is beyond what the dtype of the result allows
 */
export async function checkFirstTokens(
  { label, method, params, forward }: Contender,
  { q, k, v }: Qkv,
  control: Control,
): Promise<number> {
  const first = (x: Tensor) => x.slice(1, 0, Math.min(TOKENS, x.shape[1] as number));
  using queries = first(q);
  using keys = first(k);
  using values = first(v);
  const results = forward({ q: queries, k: keys, v: values }, control);
  try {
    const host = { q: await queries.toHost(), k: await keys.toHost(), v: await values.toHost() };
    const { out: expected } = method.reference(host, method.parse(params)) as { readonly out: HostTensor<'f64'> };
    const actual = toFloat64(await results.out.toHost());
    const largest = expected.data.reduce(
      (max, value, at) => Math.max(max, Math.abs(value - (actual[at] as number))),
      0,
    );
    const { dtype } = results.out;
    return allowedError(label, largest / (largestOf(expected) || 1), { of: 'result', dtype });
  } finally {
    disposeAll(results);
  }
}

function allowedError(
  label: string,
  error: number,
  { of, dtype }: { readonly of: string; readonly dtype: HostTensor['dtype'] },
) {
  const allowed = TOLERANCE[dtype as keyof typeof TOLERANCE];
  if (error <= allowed) return error;
  throw new BackendError(
    `${label} differs from the float64 reference by ${error} of the largest ${of}, allowed are ${allowed}: its speed is not reported`,
  );
}

function largestOf(x: HostTensor): number {
  let largest = 0;
  for (const value of toFloat64(x)) largest = Math.max(largest, Math.abs(value));
  return largest;
}

/** At most `count` different indices below n, evenly from the first to the last. */
export function someQueries(n: number, count: number): number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.round((i * (n - 1)) / (count - 1)));
}
