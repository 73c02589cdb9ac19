/** Gradients with respect to the tables that a score modifier reads. */
import { BackwardParams, Place, PLACE_BYTES, TABLE_RUN } from '../params.generated.as';
import { modify, openModifier } from '../score/modifier.as';
import { HALF, HALF_SLOPES, KEYS, Part, RAW, ROW, SEGMENTS, TABLE_MODIFIER, WEIGHTS } from './memory.as';
import { pairSegment } from './walk.as';
import { PANEL, TILE } from '../../../runtime/cpu/params.generated.as';

/** Adds what a block's gradients of the modified scores say about the tables that the modifier reads. */
export function addToTables(f: BackwardParams, t: Part, segments: i32, scratch: usize): void {
  const p = f.problem;
  const modifier = scratch + TABLE_MODIFIER;
  for (let half: i32 = 0; half < min(2, p.tiles - t.tile); half++) {
    const column = <usize>(half * TILE * 4);
    const first = (t.tile + half) * TILE;
    for (let at: usize = 0; at < <usize>f.placeCount; at++) {
      const place = changetype<Place>(f.places + at * <usize>PLACE_BYTES);
      let row: usize = 0;
      for (let s: i32 = 0; s < segments; s++) {
        const segment = pairSegment(scratch + SEGMENTS, s);
        const count = (segment.past - segment.first) * PANEL;
        if ((half == 0 ? segment.left : segment.right) >= 0) {
          const keys = scratch + KEYS + (row << 2);
          copyRows(scratch + RAW + row * ROW + column, ROW, scratch + HALF, TILE * 4, count);
          openModifier(p, place.factor, place.factorTables, t.batch, t.head, first, modifier);
          modify(place.factor, modifier, scratch + HALF, scratch + HALF_SLOPES, keys, count);
          openModifier(p, place.index, place.indexTables, t.batch, t.head, first, modifier);
          modify(place.index, modifier, scratch + HALF, scratch + HALF, keys, count);
          scatter(place, scratch + WEIGHTS + row * ROW + column, count, t.sumsOfTables, scratch);
        }
        row += <usize>count;
      }
    }
  }
}

/** sums[index] += gradient * factor, for the gradients [count][48] of one tile; keys not seen have none. */
function scatter(place: Place, gradients: usize, count: i32, sums: usize, scratch: usize): void {
  const table = sums + (place.first << 3);
  const length = <u32>place.length;
  let element: usize = 0;
  for (let key: i32 = 0; key < count; key++, gradients += ROW) {
    for (let r: usize = 0; r < <usize>(TILE * 4); r += 4, element += 4) {
      const gradient = f32.load(gradients + r);
      const index = i32.load(scratch + HALF + element);
      if (gradient == 0 || <u32>index >= length) continue;
      const sum = table + (<usize>index << 3);
      f64.store(sum, f64.load(sum) + <f64>gradient * <f64>f32.load(scratch + HALF_SLOPES + element));
    }
  }
}

/** Some elements of the gradients with respect to tables: the sums of all groups, in order. */
export function backwardTables(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const elements = f.elements;
  for (let at = task * TABLE_RUN; at < min(elements, (task + 1) * TABLE_RUN); at++) {
    let sum: f64 = 0;
    for (let group: i32 = 0; group < f.groups; group++) {
      sum += f64.load(f.sumsOfTables + ((<usize>group * <usize>elements + <usize>at) << 3));
    }
    f32.store(f.gradTables + (<usize>at << 2), <f32>sum);
  }
}

/** Rows of one tile's numbers, `fromStep` and `toStep` bytes apart. */
export function copyRows(from: usize, fromStep: usize, to: usize, toStep: usize, count: i32): void {
  for (; count > 0; count--, from += fromStep, to += toStep) memory.copy(to, from, TILE * 4);
}
