/** Elements from one strided view to another. */
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import type { Plan } from '../../runtime/webgpu/queue';
import { commonAxes } from './axes';
import type { CopyCall } from './call';

const LANES = 64;
/** Elements of a task: each lane takes every 64th. */
const RUN = 8 * LANES;

const kernelFor = variants(
  ({ rank }: { rank: number }): Kernel => ({
    name: 'copy',
    invocations: LANES,
    operands: { x: { access: 'read', rank }, out: { access: 'write', rank } },
    numbers: { size: 'u32', ...Object.fromEntries(indices(rank).map((axis) => [`extent${axis}`, 'u32' as const])) },
    body: `
fn run(task: u32, lane: u32) {
  let end = min((task + 1) * ${RUN}u, numbers.size);
  for (var place = task * ${RUN}u + lane; place < end; place += ${LANES}u) {
    var rest = place;
    ${indices(rank)
      .reverse()
      .map((axis) => `let i${axis} = rest % numbers.extent${axis}; rest /= numbers.extent${axis};`)
      .join('\n    ')}
    store_out(at_out(${indices(rank).map((axis) => `i${axis}`)}), load_x(at_x(${indices(rank).map((axis) => `i${axis}`)})));
  }
}`,
  }),
);

const indices = (rank: number) => Array.from({ length: rank }, (_, axis) => axis);

export function planCopy({ x, out }: CopyCall): Plan {
  const axes = commonAxes(x.shape, x.strides, out.strides);
  const view = ({ storage, dtype, offset }: CopyCall['x'], side: 'from' | 'to') => ({
    ...{ storage, dtype, offset },
    shape: axes.map(({ extent }) => extent),
    strides: axes.map((axis) => axis[side]),
  });
  return {
    dispatches: [
      {
        kernel: kernelFor({ rank: axes.length }),
        operands: { x: view(x, 'from'), out: view(out, 'to') },
        numbers: { size: out.size, ...Object.fromEntries(axes.map(({ extent }, axis) => [`extent${axis}`, extent])) },
        tasks: Math.ceil(out.size / RUN),
        operations: 4 * out.size,
      },
    ],
  };
}
