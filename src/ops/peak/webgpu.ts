/** Multiply-adds and nothing else: what kernels are measured against. */
import type { Kernel } from '../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { PeakCall } from './call';

const INVOCATIONS = 64;
/** Vectors of an invocation that do not wait for each other, and multiply-adds to each in a round. */
const CHAINS = 2;
const STEPS = 8;

const repeat = (count: number, of: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => of(i)).join('\n  ');

const kernel: Kernel = {
  name: 'multiply-add peak',
  invocations: INVOCATIONS,
  operands: { out: { access: 'write' } },
  numbers: { rounds: 'u32', factor: 'f32' },
  body: `
fn run(task: u32, lane: u32) {
  let i = task * ${INVOCATIONS} + lane;
  let step = vec4f(f32(i) * 1e-9);
  let factor = vec4f(numbers.factor);
  ${repeat(CHAINS, (c) => `var sum_${c} = step + vec4f(0.0, 1.0, 2.0, 3.0) + ${c}.0;`)}
  for (var round = 0u; round < numbers.rounds; round++) {
  ${repeat(STEPS, () => repeat(CHAINS, (c) => `sum_${c} = fma(sum_${c}, factor, step);`))}
  }
  store_out(i, dot(${Array.from({ length: CHAINS }, (_, c) => `sum_${c}`).join(' + ')}, vec4f(1.0)));
}`,
};

/** Workgroups that keep a device busy. */
const TASKS = { software: 64, hardware: 4096 };

export function planPeak({ rounds, count }: PeakCall, workspace: Workspace): Plan {
  const tasks = TASKS[workspace.device.isSoftware ? 'software' : 'hardware'];
  const operations = 8 * CHAINS * STEPS * rounds * INVOCATIONS * tasks;
  count(operations);
  return {
    dispatches: [
      {
        kernel,
        operands: { out: workspace.scratch([tasks * INVOCATIONS]) },
        numbers: { rounds, factor: 0.5 },
        tasks,
        operations,
      },
    ],
  };
}
