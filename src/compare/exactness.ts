/** Checks methods that need training, and masks of the caller, against their own references. */
import { checkResult, largestOf } from '../measure/gate';
import { disposeResults } from '../methods/outputs';
import type { Control } from '../runtime/backend';
import { type HostTensor, toFloat64 } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import type { Qkv } from './contenders';
import { type Contender, inputsOf } from './contenders';

/** The number of first tokens that are checked: two chunks or blocks of most methods. */
const TOKENS = 96;

/**
 * Largest error of a method's result over the largest result, on the first tokens of q, k and v.
 * @throws {WrongResultError} if it is beyond what the dtype of the result and rounding allow
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
    const inputs = inputsOf(method, host);
    const { out: expected } = method.reference(inputs, method.parse(params)) as { readonly out: HostTensor<'f64'> };
    const known = [{ at: 0, numbers: expected.data }];
    const rounding = method.rounding?.(inputs) ?? 0;
    const expectation = { known, largest: largestOf(expected.data), of: 'largest result', rounding };
    return checkResult(label, toFloat64(await results.out.toHost()), [expectation], results.out.dtype);
  } finally {
    disposeResults(results);
  }
}
