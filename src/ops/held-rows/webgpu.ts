/** Rows that are held: a workgroup goes through the tokens of a head, a lane through those of its columns. */
import { flat, type Kernel, u32s } from '../../runtime/webgpu/kernel';
import type { Plan } from '../../runtime/webgpu/plan';
import type { HeldRowsCall } from './reference';

const LANES = 64;

const kernel: Kernel = {
  name: 'rows that are held',
  invocations: LANES,
  operands: {
    x: { access: 'read' },
    thresholds: { access: 'read' },
    held: { access: 'write' },
    share: { access: 'write' },
  },
  numbers: u32s('n', 'h', 'd'),
  body: `
var<workgroup> zeros: atomic<u32>;
fn run(task: u32, lane: u32) {
  let threshold = load_thresholds(task % numbers.h);
  let first = (task / numbers.h * numbers.n * numbers.h + task % numbers.h) * numbers.d;
  if (lane == 0) { atomicStore(&zeros, 0u); }
  workgroupBarrier();
  for (var c = lane; c < numbers.d; c += ${LANES}) {
    var before = 0.0;
    var count = 0u;
    for (var i = 0u; i < numbers.n; i++) {
      let at = first + i * numbers.h * numbers.d + c;
      let value = load_x(at);
      let is_held = i > 0 && abs(value - before) <= threshold;
      if (is_held || value == before) { count++; }
      if (!is_held) { before = value; }
      store_held(at, before);
    }
    atomicAdd(&zeros, count);
  }
  workgroupBarrier();
  if (lane == 0) { store_share(task, f32(atomicLoad(&zeros)) / (f32(numbers.n) * f32(numbers.d))); }
  workgroupBarrier();
}`,
};

export function planHeldRows({ x, thresholds, held, share }: HeldRowsCall): Plan {
  const [b, n, h, d] = x.shape as [number, number, number, number];
  const operands = { x: flat(x), thresholds: flat(thresholds), held: flat(held), share: flat(share) };
  return { dispatches: [{ kernel, operands, numbers: { n, h, d }, tasks: b * h, operations: 4 * x.size }] };
}
