/** Elements from one strided view to a place in another. */
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan } from '../../runtime/webgpu/queue';
import { commonAxes } from './axes';
import type { CopyCall } from './call';

const LANES = 64;
/** Elements of a task: each lane takes every 64th. */
const RUN = 8 * LANES;

type Scalar = 'f32' | 'i32';

interface Form {
  readonly rank: number;
  readonly isPadded: boolean;
  readonly from: Scalar;
  readonly to: Scalar;
}

const WHOLE = `${functions('is_nan')}
fn whole_of(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  return select(i32(clamp(x, -2147483648.0, 2147483520.0)), 2147483647, x >= 2147483648.0);
}`;

const kernelFor = variants(({ rank, isPadded, from, to }: Form): Kernel => {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const each = (text: (axis: number) => string, between: string) => axes.map(text).join(between);
  const numbers = (name: string) => Object.fromEntries(axes.map((axis) => [`${name}${axis}`, 'u32' as const]));
  const isCut = from === 'f32' && to === 'i32';
  const element = `load_x(at_x(${each((axis) => `j${axis}`, ', ')}))`;
  const converted = isCut ? `whole_of(${element})` : from === to ? element : `f32(${element})`;
  return {
    name: 'copy',
    invocations: LANES,
    operands: { x: { access: 'read', rank }, out: { access: 'write', rank } },
    numbers: {
      ...{ size: 'u32', ...numbers('extent') },
      ...(isPadded && { value: to, ...numbers('before'), ...numbers('inside') }),
    },
    body: `
${isCut ? WHOLE : ''}
fn run(task: u32, lane: u32) {
  let end = min((task + 1) * ${RUN}u, numbers.size);
  for (var place = task * ${RUN}u + lane; place < end; place += ${LANES}u) {
    var rest = place;
    ${[...axes]
      .reverse()
      .map((axis) => `let i${axis} = rest % numbers.extent${axis}; rest /= numbers.extent${axis};`)
      .join('\n    ')}
    ${each((axis) => `let j${axis} = i${axis}${isPadded ? ` - numbers.before${axis}` : ''};`, ' ')}
    let to = at_out(${each((axis) => `i${axis}`, ', ')});
    ${isPadded ? `if (${each((axis) => `j${axis} >= numbers.inside${axis}`, ' || ')}) { store_out(to, numbers.value); continue; }` : ''}
    store_out(to, ${converted});
  }
}`,
  };
});

export function planCopy({ x, out, before, value = 0 }: CopyCall): Plan {
  const axes = commonAxes(out.shape, x.strides, out.strides, x.shape, before);
  const scalar = ({ dtype }: CopyCall['x']) => (dtype === 'i32' ? 'i32' : 'f32');
  const isPadded = before !== undefined;
  const numbers = (name: 'extent' | 'before' | 'inside') =>
    Object.fromEntries(axes.map((axis, at) => [`${name}${at}`, axis[name]]));
  const { storage, dtype, offset } = x;
  return {
    dispatches: [
      {
        kernel: kernelFor({ rank: axes.length, isPadded, from: scalar(x), to: scalar(out) }),
        operands: {
          x: { storage, dtype, offset, shape: axes.map(({ inside }) => inside), strides: axes.map(({ from }) => from) },
          out: {
            ...{ storage: out.storage, dtype: out.dtype, offset: out.offset },
            ...{ shape: axes.map(({ extent }) => extent), strides: axes.map(({ to }) => to) },
          },
        },
        numbers: {
          ...{ size: out.size, ...numbers('extent') },
          ...(isPadded && { value, ...numbers('before'), ...numbers('inside') }),
        },
        tasks: Math.ceil(out.size / RUN),
        operations: 4 * out.size,
      },
    ],
  };
}
