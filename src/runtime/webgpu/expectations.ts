/** Expectations of ops, checked by a kernel on the device. */
import { sizeOf } from '../../tensor/shape';
import type { Expectation } from '../op';
import { type Dispatch, type Kernel, type Region, variants } from './kernel';
import type { Workspace } from './plan';

const LANES = 64;
/** Values of a task: its first wrong element, how many are wrong and their largest magnitude. */
const VALUES = 3;
/** Elements of a task: each lane checks every 64th. */
const RUN = 64 * LANES;
const LARGEST_F32 = 3.4028234663852886e38;

const kernelFor = variants(
  ({ rank, isInteger }: { rank: number; isInteger: boolean }): Kernel => ({
    name: 'expectation',
    invocations: LANES,
    operands: { x: { access: 'read', rank }, places: { access: 'write' }, values: { access: 'write' } },
    numbers: {
      size: 'u32',
      ...Object.fromEntries(Array.from({ length: rank }, (_, axis) => [`extent${axis}`, 'u32' as const])),
      least: isInteger ? 'i32' : 'f32',
      most: isInteger ? 'i32' : 'f32',
      magnitude: 'f32',
      ...(isInteger && { except: 'i32' }),
    },
    body: `
var<workgroup> lowest: atomic<u32>;
var<workgroup> count: atomic<u32>;
var<workgroup> largest: atomic<u32>;
fn element(place: u32) -> ${isInteger ? 'i32' : 'f32'} {
  var rest = place;
  ${Array.from({ length: rank }, (_, at) => rank - 1 - at)
    .map((axis) => `let i${axis} = rest % numbers.extent${axis}; rest /= numbers.extent${axis};`)
    .join('\n  ')}
  return load_x(at_x(${Array.from({ length: rank }, (_, axis) => `i${axis}`).join(', ')}));
}
fn fails(x: ${isInteger ? 'i32' : 'f32'}) -> bool {
  ${isInteger ? '' : 'if ((bitcast<u32>(x) & 0x7fffffff) > 0x7f800000) { return true; }'}
  ${isInteger ? 'if (x == numbers.except) { return false; }' : ''}
  return x < numbers.least || x > numbers.most${isInteger ? '' : ' || (bitcast<u32>(x) & 0x7fffffff) < bitcast<u32>(numbers.magnitude)'};
}
fn run(task: u32, lane: u32) {
  if (lane == 0) {
    atomicStore(&lowest, 0xffffffff);
    atomicStore(&count, 0);
    atomicStore(&largest, 0);
  }
  workgroupBarrier();
  let end = min((task + 1) * ${RUN}u, numbers.size);
  for (var place = task * ${RUN}u + lane; place < end; place += ${LANES}u) {
    let x = element(place);
    if (!fails(x)) { continue; }
    atomicMin(&lowest, place);
    atomicAdd(&count, 1);
    // Magnitudes order as their bits do.
    atomicMax(&largest, bitcast<u32>(f32(x)) & 0x7fffffff);
  }
  workgroupBarrier();
  if (lane == 0) {
    let place = atomicLoad(&lowest);
    store_places(task, bitcast<i32>(place));
    store_values(${VALUES} * task, select(0.0, f32(element(min(place, numbers.size - 1))), place != 0xffffffff));
    store_values(${VALUES} * task + 1, f32(atomicLoad(&count)));
    store_values(${VALUES} * task + 2, bitcast<f32>(atomicLoad(&largest)));
  }
}`,
  }),
);

/** The dispatch that checks an expectation, and where each task writes the index of its first wrong element, or -1, and values. */
export interface Look {
  readonly expectation: Expectation;
  readonly dispatch: Dispatch;
  readonly places: Region;
  readonly values: Region;
}

export function lookAt(expectation: Expectation, workspace: Workspace): Look {
  const { tensor, least, most, magnitude = 0, except = least } = expectation;
  const { shape, dtype } = tensor;
  const size = sizeOf(shape);
  const tasks = Math.ceil(size / RUN);
  const [places, values] = [workspace.scratch([tasks], 'i32'), workspace.scratch([VALUES * tasks])];
  // A scalar is a row of one element.
  const x: Region = shape.length > 0 ? tensor : { ...tensor, shape: [1], strides: [1] };
  const rank = x.shape.length;
  const isInteger = dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16';
  const bound = (limit: number) =>
    Number.isFinite(limit) ? Math.max(-LARGEST_F32, Math.min(LARGEST_F32, limit)) : limit;
  return {
    expectation,
    dispatch: {
      kernel: kernelFor({ rank, isInteger }),
      operands: { x, places, values },
      numbers: {
        size,
        ...Object.fromEntries(x.shape.map((extent, axis) => [`extent${axis}`, extent])),
        ...(isInteger ? { least, most, except } : { least: bound(least), most: bound(most) }),
        magnitude,
      },
      tasks,
      operations: 8 * size,
    },
    places,
    values,
  };
}

/** Throws the expectation's error if a task has found a wrong element. */
export function checkLook({ expectation }: Look, places: Int32Array, values: Float32Array): void {
  const at = places.findIndex((place) => place !== -1);
  if (at === -1) return;
  const found = Array.from(places, (_, task) => values.subarray(VALUES * task, VALUES * (task + 1)));
  const [value] = found[at] as Float32Array;
  throw expectation.error(value as number, (places[at] as number) >>> 0, {
    count: found.reduce((sum, [, count]) => sum + (count as number), 0),
    largest: found.reduce((most, [, , largest]) => Math.max(most, largest as number), 0),
  });
}
