/** Conversions of contiguous numbers between float32 and 16 bits as machine code; all else is WebAssembly's. */
import { HALVES } from '../../code/halves';
import type { Integer, Kernel } from '../../code/kernel';
import { address, checkInside, type NativePlan, overElements } from '../../runtime/cpu/plan';
import type { CopyCall } from './call';

/** Elements of a task, and the least of a call. */
const RUN = 1 << 18;
const FEWEST = 1024;

export const planNative: NativePlan<CopyCall> = ({ x, out, within }, { native }) => {
  const isNarrow = x.dtype === 'f32';
  const [half, wide] = isNarrow ? [out.dtype, x.dtype] : [x.dtype, out.dtype];
  if (within || wide !== 'f32' || (half !== 'f16' && half !== 'bf16')) return undefined;
  if (x.size < FEWEST || !x.isContiguous || !out.isContiguous) return undefined;
  for (const each of [x, out]) checkInside(each);
  const key = isNarrow ? `to ${half}` : `of ${half}`;
  const code = native.kernel(`copy ${key}`, (k) => convert(k, half, isNarrow));
  return overElements('copy', Math.ceil(x.size / RUN), [address(x), address(out), x.size], x.size, code);
};

function convert(k: Kernel, dtype: keyof typeof HALVES, isNarrow: boolean): void {
  const p = k.params({ x: 'tensor', out: 'tensor', size: 'usize' });
  const [x, out] = [p.x().plus(k.base), p.out().plus(k.base)];
  const first = k.task.times(RUN);
  const past = first.plus(RUN).least(p.size());
  const { load, store } = HALVES[dtype];
  const some = (index: Integer) => {
    if (isNarrow) store(k, k.load(x.at(0, index, 4)), out.at(0, index, 2));
    else load(k, x.at(0, index, 2)).store(out.at(0, index, 4));
  };
  k.range('elements', first, past.minus(k.lanes - 1), k.lanes, some);
  // What is left, with some again that lie before it.
  some(past.minus(k.lanes));
}
