/** A workgroup for each cloud, or for each centre; squared distances are in float32. */
import { flat, type Kernel, u32s } from '../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { FarthestCall, NearestCall } from './reference';

const LANES = 64;

/** The first in order among the lanes' candidates, into all lanes' `best`: `before` tells whether a comes before b. */
const FIRST = (before: string) => `
var<workgroup> keys: array<f32, ${LANES}>;
var<workgroup> places: array<u32, ${LANES}>;
fn square(a: u32, b: u32) -> f32 {
  let x = load_points(3 * a) - load_points(3 * b);
  let y = load_points(3 * a + 1) - load_points(3 * b + 1);
  let z = load_points(3 * a + 2) - load_points(3 * b + 2);
  return x * x + y * y + z * z;
}
fn first(key: f32, place: u32, lane: u32) -> u32 {
  workgroupBarrier();
  keys[lane] = key;
  places[lane] = place;
  for (var width = ${LANES / 2}u; width > 0; width /= 2) {
    workgroupBarrier();
    if (lane < width) {
      let other = keys[lane + width];
      let is_first = other ${before} keys[lane] || (other == keys[lane] && places[lane + width] < places[lane]);
      if (is_first) { keys[lane] = other; places[lane] = places[lane + width]; }
    }
  }
  workgroupBarrier();
  return places[0];
}`;

const farthestKernel: Kernel = {
  name: 'farthest points',
  invocations: LANES,
  operands: { points: { access: 'read' }, distances: { access: 'update' }, out: { access: 'write' } },
  numbers: u32s('rows', 'groups', 'start'),
  body: `${FIRST('>')}
fn run(task: u32, lane: u32) {
  let cloud = task * numbers.rows;
  var taken = numbers.start;
  for (var g = 0u; g < numbers.groups; g++) {
    if (lane == 0) { store_out(task * numbers.groups + g, i32(taken)); }
    var most = -1.0;
    var place = numbers.rows;
    for (var i = lane; i < numbers.rows; i += ${LANES}) {
      var least = square(cloud + i, cloud + taken);
      if (g > 0) { least = min(least, load_distances(cloud + i)); }
      store_distances(cloud + i, least);
      if (least > most) { most = least; place = i; }
    }
    taken = first(most, place, lane);
  }
}`,
};

/** The nearest, then the next after it in order, and so on: no list is kept. */
const nearestKernel: Kernel = {
  name: 'nearest points',
  invocations: LANES,
  operands: { points: { access: 'read' }, centers: { access: 'read' }, out: { access: 'write' } },
  numbers: u32s('rows', 'groups', 'size'),
  body: `${FIRST('<')}
fn run(task: u32, lane: u32) {
  let cloud = task / numbers.groups * numbers.rows;
  let center = cloud + min(u32(load_centers(task)), numbers.rows - 1);
  var bound = -1.0;
  var latest = 0u;
  for (var k = 0u; k < numbers.size; k++) {
    var least = numbers.infinity;
    var place = numbers.rows;
    for (var i = lane; i < numbers.rows; i += ${LANES}) {
      let distance = square(cloud + i, center);
      let is_left = distance > bound || (distance == bound && i > latest);
      if (is_left && distance < least) { least = distance; place = i; }
    }
    latest = first(least, place, lane);
    bound = keys[0];
    if (lane == 0) { store_out(task * numbers.size + k, i32(latest)); }
  }
}`,
};

export function planFarthestPoints({ points, groups, start, out }: FarthestCall, workspace: Workspace): Plan {
  const [clouds, rows] = points.shape as [number, number];
  const distances = workspace.scratch([clouds * rows], 'f32');
  return {
    dispatches: [
      {
        kernel: farthestKernel,
        operands: { points: flat(points), distances, out: flat(out) },
        numbers: { rows, groups, start },
        tasks: clouds,
        operations: 20 * clouds * rows * groups,
      },
    ],
  };
}

export function planNearestPoints({ points, centers, size, out }: NearestCall): Plan {
  const [, rows] = points.shape as [number, number];
  return {
    dispatches: [
      {
        kernel: nearestKernel,
        operands: { points: flat(points), centers: flat(centers), out: flat(out) },
        numbers: { rows, groups: centers.shape[1] as number, size },
        tasks: centers.size,
        operations: 20 * centers.size * rows * size,
      },
    ],
  };
}
