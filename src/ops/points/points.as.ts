/**
 * Farthest points and nearest neighbours in clouds of three coordinates. Squared distances are in float64, two points at a
 * time, so that choices are those of the reference; a place past an odd cloud's end holds NaN, which is never chosen.
 */
import { FarthestParams, NearestParams } from './params.generated.as';

/** An entry of a heap: its distance, and the index. */
const ENTRY: usize = 16;

/** The coordinates of a cloud side by side, [3][rows]; tasks are clouds. */
export function farthestPlanes(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FarthestParams>(params);
  split(p.points, p.planes, p.rows, task);
}

export function nearestPlanes(params: usize, task: i32, scratch: usize): void {
  const p = changetype<NearestParams>(params);
  split(p.points, p.planes, p.rows, task);
}

@inline
function even(rows: i32): usize {
  return <usize>(rows + (rows & 1));
}

function split(points: usize, planes: usize, rows: i32, cloud: i32): void {
  const width = even(rows) << 2;
  const to = planes + <usize>cloud * 3 * width;
  const from = points + <usize>cloud * <usize>rows * 12;
  for (let c: usize = 0; c < 3; c++) {
    const plane = to + c * width;
    for (let i: usize = 0; i < <usize>rows; i++) f32.store(plane + (i << 2), f32.load(from + i * 12 + (c << 2)));
    if (rows & 1) f32.store(plane + width - 4, f32.NaN);
  }
}

/** Squared distances of two points of the planes from a point. */
@inline
function squares(plane: usize, width: usize, x: v128, y: v128, z: v128): v128 {
  const dx = f64x2.sub(f64x2.promote_low_f32x4(v128.load64_zero(plane)), x);
  const dy = f64x2.sub(f64x2.promote_low_f32x4(v128.load64_zero(plane + width)), y);
  const dz = f64x2.sub(f64x2.promote_low_f32x4(v128.load64_zero(plane + 2 * width)), z);
  return f64x2.add(f64x2.add(f64x2.mul(dx, dx), f64x2.mul(dy, dy)), f64x2.mul(dz, dz));
}

@inline
function splat(plane: usize, at: i32): v128 {
  return f64x2.splat(<f64>f32.load(plane + (<usize>at << 2)));
}

/** From the first on, each point is the farthest from all taken before it, the first of equal ones; a task is a cloud. */
export function farthestPoints(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FarthestParams>(params);
  const pairs = even(p.rows);
  const width = pairs << 2;
  const planes = p.planes + <usize>task * 3 * width;
  const distances = p.distances + <usize>task * (pairs << 3);
  for (let i: usize = 0; i < pairs; i += 2) v128.store(distances + (i << 3), f64x2.splat(f64.MAX_VALUE));
  const out = p.out + <usize>task * (<usize>p.groups << 2);
  let taken = p.start;
  i32.store(out, taken);
  for (let g: i32 = 1; g < p.groups; g++) {
    const x = splat(planes, taken);
    const y = splat(planes + width, taken);
    const z = splat(planes + 2 * width, taken);
    let most = f64x2.splat(-1);
    let places = i64x2.splat(0);
    let here = i64x2(0, 1);
    for (let i: usize = 0; i < pairs; i += 2) {
      // pmin keeps the first where the second is NaN; past the end both are.
      const least = f64x2.pmin(squares(planes + (i << 2), width, x, y, z), v128.load(distances + (i << 3)));
      v128.store(distances + (i << 3), least);
      const isFarther = f64x2.gt(least, most);
      most = v128.bitselect(least, most, isFarther);
      places = v128.bitselect(here, places, isFarther);
      here = i64x2.add(here, i64x2.splat(2));
    }
    const first = f64x2.extract_lane(most, 0);
    const second = f64x2.extract_lane(most, 1);
    const a = <i32>i64x2.extract_lane(places, 0);
    const b = <i32>i64x2.extract_lane(places, 1);
    taken = second > first || (second == first && b < a) ? b : a;
    i32.store(out + (<usize>g << 2), taken);
  }
}

/** The nearest points of each centre, by distance and then by index; tasks are runs of centres. */
export function nearestPoints(params: usize, task: i32, scratch: usize): void {
  const p = changetype<NearestParams>(params);
  const pairs = even(p.rows);
  const width = pairs << 2;
  const size = p.size;
  const heap = p.heaps + <usize>task * (<usize>size * ENTRY);
  const last = min((task + 1) * p.centersOfTask, p.centersOfAll);
  for (let center = task * p.centersOfTask; center < last; center++) {
    const planes = p.planes + <usize>(center / p.groups) * 3 * width;
    const at = i32.load(p.centers + (<usize>center << 2));
    const out = p.out + <usize>center * (<usize>size << 2);
    // An index outside the cloud is a fault of the call.
    if (<u32>at >= <u32>p.rows) {
      memory.fill(out, 0, <usize>size << 2);
      continue;
    }
    const x = splat(planes, at);
    const y = splat(planes + width, at);
    const z = splat(planes + 2 * width, at);
    let count: i32 = 0;
    let bound = f64x2.splat(f64.MAX_VALUE);
    for (let i: usize = 0; i < pairs; i += 2) {
      const two = squares(planes + (i << 2), width, x, y, z);
      const isNear = i64x2.bitmask(f64x2.lt(two, bound));
      if (isNear == 0) continue;
      for (let lane: i32 = 0; lane < 2; lane++) {
        if (!(isNear & (1 << lane))) continue;
        const distance = lane ? f64x2.extract_lane(two, 1) : f64x2.extract_lane(two, 0);
        const index = <i32>i + lane;
        if (count < size) lift(heap, count++, distance, index);
        else if (distance < f64.load(heap)) sink(heap, size, distance, index);
      }
      if (count == size) bound = v128.load64_splat(heap);
    }
    // The farthest is taken off the heap, and so on to the nearest.
    for (let left = count - 1; left >= 0; left--) {
      i32.store(out + (<usize>left << 2), i32.load(heap + 8));
      const end = heap + <usize>left * ENTRY;
      sink(heap, left, f64.load(end), i32.load(end + 8));
    }
  }
}

/** Whether an entry comes after another one: farther, or as far with a larger index. */
@inline
function isAfter(distance: f64, index: i32, entry: usize): bool {
  const other = f64.load(entry);
  return distance > other || (distance == other && index > i32.load(entry + 8));
}

@inline
function put(entry: usize, distance: f64, index: i32): void {
  f64.store(entry, distance);
  i32.store(entry + 8, index);
}

/** Adds an entry at the end of a heap whose first comes after all others. */
function lift(heap: usize, end: i32, distance: f64, index: i32): void {
  let at = end;
  while (at > 0) {
    const above = (at - 1) >> 1;
    const entry = heap + <usize>above * ENTRY;
    if (!isAfter(distance, index, entry)) break;
    put(heap + <usize>at * ENTRY, f64.load(entry), i32.load(entry + 8));
    at = above;
  }
  put(heap + <usize>at * ENTRY, distance, index);
}

/** Puts an entry in the place of the first of a heap of `count`. */
function sink(heap: usize, count: i32, distance: f64, index: i32): void {
  let at: i32 = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= count) break;
    let entry = heap + <usize>below * ENTRY;
    if (below + 1 < count && isAfter(f64.load(entry + ENTRY), i32.load(entry + ENTRY + 8), entry)) {
      below++;
      entry += ENTRY;
    }
    if (isAfter(distance, index, entry)) break;
    put(heap + <usize>at * ENTRY, f64.load(entry), i32.load(entry + 8));
    at = below;
  }
  if (count > 0) put(heap + <usize>at * ENTRY, distance, index);
}
