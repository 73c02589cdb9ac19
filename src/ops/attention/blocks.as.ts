/** The problem and its block map (block-map.ts), as attention's kernels read them. */
import { rowIn } from '../../runtime/wasm/assembly/layout.as';
import { PANEL, TILE } from '../../runtime/cpu/params.generated.as';
import { Stretch, STRETCH_BYTES } from '../../runtime/wasm/assembly/product.as';
import { FULL, PATTERN_LENGTH, Problem, SEEN, SEEN_BY_GROUP, STRETCH_LIST_BYTES } from './params.generated.as';

@inline
export function queryIn(p: Problem, slot: i32): i32 {
  return rowIn(slot, p.queries, p.n);
}

@inline
export function keyIn(p: Problem, slot: i32): i32 {
  return rowIn(slot, p.keys, p.m);
}

/** The `rank`-th tile of a head in the order of its map; the later ones have less work. */
@inline
export function tileAt(p: Problem, map: i32, rank: i32): i32 {
  return i32.load(p.order + (<usize>(map * p.tiles + rank) << 2));
}

/** The map of a head of a batch. */
@inline
export function mapOf(p: Problem, place: i32): i32 {
  return i32.load(p.maps + (<usize>place << 2));
}

/** Where a tile's first run and their number lie. */
@inline
export function runsOf(p: Problem, place: i32, tile: i32): usize {
  return p.tileRuns + (<usize>(mapOf(p, place) * p.tiles + tile) << 3);
}

/** Panels of a run or a part of one; `pattern` says who sees which of their keys. */
@unmanaged
export class Segment {
  first: i32;
  past: i32;
  pattern: i32;
}
export const SEGMENT_BYTES: usize = 12;
export const SEGMENT_PATTERN: usize = offsetof<Segment>("pattern");

/** Where a walk through the runs of a tile has come to. */
@unmanaged
export class Walk {
  run: i32;
  pastRun: i32;
  /** Panels of the run at hand that are behind. */
  taken: i32;
}

export function startWalk(walk: Walk, p: Problem, place: i32, tile: i32): void {
  const at = runsOf(p, place, tile);
  walk.run = i32.load(at);
  walk.pastRun = walk.run + i32.load(at, 4);
  walk.taken = 0;
}

/** Panels before `past` that the walk has not passed. */
export function panelsBefore(walk: Walk, p: Problem, past: i32): i32 {
  let count = -walk.taken;
  for (let at = walk.run; at < walk.pastRun; at++) {
    const run = changetype<Segment>(p.runs + <usize>at * SEGMENT_BYTES);
    if (run.first >= past) break;
    count += min(run.past, past) - run.first;
  }
  return max(0, count);
}

/** Moves the walk on by `panels` and writes what it passed as segments; returns their number. */
export function takeSegments(walk: Walk, p: Problem, panels: i32, segments: usize): i32 {
  let count: i32 = 0;
  while (panels > 0) {
    const run = changetype<Segment>(p.runs + <usize>walk.run * SEGMENT_BYTES);
    const segment = changetype<Segment>(segments + <usize>count * SEGMENT_BYTES);
    segment.first = run.first + walk.taken;
    segment.past = min(run.past, segment.first + panels);
    segment.pattern = run.pattern;
    const length = segment.past - segment.first;
    panels -= length;
    walk.taken += length;
    if (segment.past == run.past) {
      walk.run++;
      walk.taken = 0;
    }
    count++;
  }
  return count;
}

@inline
export function patternAt(p: Problem, pattern: i32): usize {
  return p.patterns + <usize>(pattern * PATTERN_LENGTH * 4);
}

@inline
export function flagsOf(pattern: usize): i32 {
  return i32.load(pattern, PANEL * 4);
}

/** Whether all keys of the pattern are seen by all eight queries of a slice. */
@inline
export function isFull(flags: i32, slice: i32): bool {
  return (flags & (FULL << slice)) != 0;
}

/** Whether some key is seen by some query of a slice. */
@inline
export function isSeen(flags: i32, slice: i32): bool {
  return (flags & (SEEN << slice)) != 0;
}

/** Whether some key is seen by some of six queries. */
@inline
function isSeenByGroup(flags: i32, group: i32): bool {
  return (flags & (SEEN_BY_GROUP << group)) != 0;
}

const GROUPS: i32 = TILE / PANEL;
/** A count, then at most as many stretches as there are panels in a block. */
const GROUP_BYTES: usize = STRETCH_LIST_BYTES;
export const STRETCHES_BYTES: usize = <usize>GROUPS * GROUP_BYTES;

/**
 * The keys that each group of six queries needs of a block, as stretches of its scores and of the key slots; segments are `step`
 * bytes apart, and their patterns, -1 for none, lie `place` bytes on.
 */
export function findStretches(p: Problem, segments: usize, step: usize, place: usize, count: i32, stretches: usize): void {
  for (let group: i32 = 0; group < GROUPS; group++) {
    const list = stretches + <usize>group * GROUP_BYTES;
    let found: i32 = 0;
    let offset: i32 = 0;
    let past: i32 = -1;
    let stretch = changetype<Stretch>(list + 4);
    for (let s: i32 = 0; s < count; s++) {
      const segment = changetype<Segment>(segments + <usize>s * step);
      const panels = segment.past - segment.first;
      const pattern = i32.load(changetype<usize>(segment) + place);
      if (pattern >= 0 && isSeenByGroup(flagsOf(patternAt(p, pattern)), group)) {
        if (segment.first == past) stretch.count += panels;
        else {
          stretch = changetype<Stretch>(list + 4 + <usize>found * STRETCH_BYTES);
          stretch.offset = offset;
          stretch.first = segment.first;
          stretch.count = panels;
          found++;
        }
        past = segment.past;
      } else past = -1;
      offset += panels;
    }
    store<i32>(list, found);
  }
}

@inline
export function stretchesOf(stretches: usize, group: i32): usize {
  return stretches + <usize>group * GROUP_BYTES;
}
