/** Which panels of keys a pair of tiles meets, and what it sees of them. */
import { runsOf, Segment, SEGMENT_BYTES } from '../blocks.as';
import { Problem } from '../params.generated.as';
import { PANEL } from '../../../runtime/cpu/params.generated.as';

/** What a pair of tiles sees of some panels; pattern -1 where a tile sees nothing. */
@unmanaged
export class PairSegment {
  first: i32;
  past: i32;
  left: i32;
  right: i32;
}
export const PAIR_SEGMENT_BYTES: usize = 16;
export const LEFT_PATTERN: usize = offsetof<PairSegment>("left");
export const RIGHT_PATTERN: usize = offsetof<PairSegment>("right");

/** Where a walk through the runs of two tiles has come to. */
@unmanaged
export class PairWalk {
  panel: i32;
  pastPanel: i32;
  leftRun: i32;
  pastLeft: i32;
  rightRun: i32;
  pastRight: i32;
}

@inline
export function pairSegment(segments: usize, at: i32): PairSegment {
  return changetype<PairSegment>(segments + <usize>at * PAIR_SEGMENT_BYTES);
}

/** Keys in so many segments. */
export function keysIn(segments: usize, count: i32): i32 {
  let panels: i32 = 0;
  for (let at: i32 = 0; at < count; at++) panels += pairSegment(segments, at).past - pairSegment(segments, at).first;
  return panels * PANEL;
}

/** Where the run of a segment ends: those behind it that the same tiles meet, panel after panel. */
export function pastRun(segments: usize, at: i32, count: i32): i32 {
  let last = pairSegment(segments, at);
  for (at++; at < count; at++) {
    const next = pairSegment(segments, at);
    if (next.first != last.past || next.left < 0 != last.left < 0 || next.right < 0 != last.right < 0) break;
    last = next;
  }
  return at;
}

export function startPair(walk: PairWalk, p: Problem, place: i32, tile: i32, first: i32, past: i32): void {
  const left = runsOf(p, place, tile);
  walk.panel = first;
  walk.pastPanel = past;
  walk.leftRun = i32.load(left);
  walk.pastLeft = walk.leftRun + i32.load(left, 4);
  const hasRight = tile + 1 < p.tiles;
  walk.rightRun = hasRight ? i32.load(left, 8) : 0;
  walk.pastRight = hasRight ? walk.rightRun + i32.load(left, 12) : 0;
}

@inline
function runAt(p: Problem, run: i32): Segment {
  return changetype<Segment>(p.runs + <usize>run * SEGMENT_BYTES);
}

/** The next segments that one or both tiles see, of at most `room` panels; returns their number. */
export function takePairs(walk: PairWalk, p: Problem, room: i32, segments: usize): i32 {
  let count: i32 = 0;
  while (room > 0) {
    while (walk.leftRun < walk.pastLeft && runAt(p, walk.leftRun).past <= walk.panel) walk.leftRun++;
    while (walk.rightRun < walk.pastRight && runAt(p, walk.rightRun).past <= walk.panel) walk.rightRun++;
    let left = i32.MAX_VALUE;
    let right = i32.MAX_VALUE;
    if (walk.leftRun < walk.pastLeft) left = max(walk.panel, runAt(p, walk.leftRun).first);
    if (walk.rightRun < walk.pastRight) right = max(walk.panel, runAt(p, walk.rightRun).first);
    const first = min(left, right);
    if (first >= walk.pastPanel) break;
    const segment = pairSegment(segments, count);
    let past = min(walk.pastPanel, first + room);
    segment.left = -1;
    segment.right = -1;
    if (left == first) {
      segment.left = runAt(p, walk.leftRun).pattern;
      past = min(past, runAt(p, walk.leftRun).past);
    } else past = min(past, left);
    if (right == first) {
      segment.right = runAt(p, walk.rightRun).pattern;
      past = min(past, runAt(p, walk.rightRun).past);
    } else past = min(past, right);
    segment.first = first;
    segment.past = past;
    walk.panel = past;
    room -= past - first;
    count++;
  }
  return count;
}
