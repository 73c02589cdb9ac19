/** The multiply-add peak of machine code: as many sums as those of products, and nothing else. */
import type { Kernel } from '../../code/kernel';
import { FLOPS_PER_MICROSECOND, type NativePlan } from '../../runtime/cpu/plan';
import type { PeakCall } from './call';
import { PeakParams } from './params';
import { PeakParams as paramsOf } from './params.generated';

const SUMS = 12;

export const planNative: NativePlan<PeakCall> = ({ rounds, count }, { native, threads }) => {
  const operations = 2 * SUMS * native.target.lanes * rounds * threads;
  count(operations);
  const phase = { kernel: 'peak', tasks: threads, code: native.kernel('peak', peak) };
  const params = paramsOf({ rounds, factor: 0.5 });
  return { jobs: () => [{ phases: [phase], params, microseconds: operations / FLOPS_PER_MICROSECOND }] };
};

function peak(k: Kernel): void {
  const { rounds } = k.params(PeakParams);
  const [half, quarter] = [k.number(0.5), k.number(0.25)];
  const sums = Array.from({ length: SUMS }, (_, at) => k.number(at));
  k.range('rounds', 0, rounds(), 1, () => {
    for (const sum of sums) sum.addProduct(half, quarter);
  });
  for (const sum of sums.slice(1)) (sums[0] as (typeof sums)[0]).set((sums[0] as (typeof sums)[0]).plus(sum));
  // No more than the kernel of WebAssembly stores.
  sums[0]?.store(k.scratch.at(), k.integer(4));
}
