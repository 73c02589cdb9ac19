/** Elements from one strided view to another. */
import { convert } from '../../runtime/webgpu/convert';
import { type Dispatch, flat, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { commonAxes } from './axes';
import type { CopyCall } from './call';

const LANES = 64;
/** Elements of a task: each lane takes every 64th. */
const RUN = 8 * LANES;

const over = (each: string) => `
fn run(task: u32, lane: u32) {
  let end = min((task + 1) * ${RUN}u, numbers.size);
  for (var place = task * ${RUN}u + lane; place < end; place += ${LANES}u) {
    ${each}
  }
}`;

type Scalar = 'f32' | 'i32';
const scalarOf = ({ dtype }: Region): Scalar => (dtype === 'i32' ? 'i32' : 'f32');

const fillKernel = variants(
  (scalar: Scalar): Kernel => ({
    name: 'fill',
    invocations: LANES,
    operands: { out: { access: 'write' } },
    numbers: { size: 'u32', value: scalar },
    body: over('store_out(place, numbers.value);'),
  }),
);

const CONVERT = {
  f32: { f32: 'x', i32: 'whole_of(x)' },
  i32: { f32: 'f32(x)', i32: 'x' },
} as const;

const WHOLE = `${functions('is_nan')}
fn whole_of(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  return select(i32(clamp(x, -2147483648.0, 2147483520.0)), 2147483647, x >= 2147483648.0);
}`;

const copyKernel = variants(({ rank, from, to }: { rank: number; from: Scalar; to: Scalar }): Kernel => {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const place = axes.map((axis) => `i${axis}`).join(', ');
  return {
    name: 'copy',
    invocations: LANES,
    operands: { x: { access: 'read', rank }, out: { access: 'write', rank } },
    numbers: { size: 'u32', ...Object.fromEntries(axes.map((axis) => [`extent${axis}`, 'u32' as const])) },
    body: `
${from === 'f32' && to === 'i32' ? WHOLE : ''}
${over(`var rest = place;
    ${axes
      .map((axis) => `let i${axis} = rest % numbers.extent${axis}; rest /= numbers.extent${axis};`)
      .reverse()
      .join('\n    ')}
    let x = load_x(at_x(${place}));
    store_out(at_out(${place}), ${CONVERT[from][to]});`)}`,
  };
});

/** To the place of out, which may lie in other memory. */
function copyTo(
  { x, out }: CopyCall,
  { storage, dtype, offset }: Pick<Region, 'storage' | 'dtype' | 'offset'>,
): Dispatch {
  const axes = commonAxes(x.shape, x.strides, out.strides);
  const shape = axes.map(({ extent }) => extent);
  return {
    kernel: copyKernel({ rank: axes.length, from: scalarOf(x), to: scalarOf(out) }),
    operands: {
      x: { storage: x.storage, dtype: x.dtype, offset: x.offset, shape, strides: axes.map(({ from }) => from) },
      out: { storage, dtype, offset, shape, strides: axes.map(({ to }) => to) },
    },
    numbers: { size: x.size, ...Object.fromEntries(shape.map((extent, axis) => [`extent${axis}`, extent])) },
    tasks: Math.ceil(x.size / RUN),
    operations: 4 * x.size,
  };
}

export function planCopy(call: CopyCall, workspace: Workspace): Plan {
  const { out, within } = call;
  if (!within) return { dispatches: [copyTo(call, out)] };
  const { whole, value } = within;
  const { size } = whole;
  // 16-bit elements are written as words, at whose bounds parts need not begin and end.
  const isHalf = whole.dtype === 'f16' || whole.dtype === 'bf16';
  const wide = isHalf ? workspace.scratch(whole.shape) : whole;
  const { storage, dtype } = wide;
  return {
    dispatches: [
      {
        kernel: fillKernel(scalarOf(whole)),
        operands: { out: flat(wide) },
        numbers: { size, value },
        tasks: Math.ceil(size / RUN),
        operations: size,
      },
      copyTo(call, { storage, dtype, offset: wide.offset + out.offset - whole.offset }),
      ...(isHalf ? [convert(wide, whole)] : []),
    ],
  };
}
