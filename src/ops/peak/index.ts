/** Multiply-adds and nothing else: what kernels are measured against. */
import { UnsupportedError } from '../../errors';
import { FLOPS_PER_MICROSECOND } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { Runtime } from '../../runtime/runtime';
import type { PeakCall } from './call';
import { kernels, PeakParams } from './params.generated';

/** Twelve vectors of four lanes, two operations each. */
const OPERATIONS_PER_ROUND = 96;

const op: Op<PeakCall> = {
  name: 'peak',
  kernels,
  reference: () => Promise.reject(new UnsupportedError('the reference backend has no multiply-add peak')),
  cpu({ rounds, count }, { threads }) {
    const operations = OPERATIONS_PER_ROUND * rounds * threads;
    count(operations);
    const microseconds = operations / FLOPS_PER_MICROSECOND;
    return {
      jobs: () => [
        { phases: [{ kernel: 'peak', tasks: threads }], params: PeakParams({ rounds, factor: 0.5 }), microseconds },
      ],
    };
  },
  native: 'peak',
  webgpu: async () => (await import('./webgpu')).planPeak,
};

/** Runs the backend's fastest multiply-add loop for so many rounds on all of it; resolves to the operations done. */
export async function multiplyAdds(runtime: Runtime, rounds: number): Promise<number> {
  let done = 0;
  const count = (operations: number) => {
    done = operations;
  };
  runtime.calls.run(op, { make: () => ({ rounds, count }) }, [], [], {});
  await runtime.finish();
  return done;
}
