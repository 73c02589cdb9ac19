/** Which tokens of a sequence each rank holds, so that the work of a mask is about equal. */
import { keyWords } from '../masks/key-words';
import { type Extent, type Mask, type Place, placesOf } from '../masks/mask';

/** The tokens from the first to before the second. */
export type Run = readonly [start: number, past: number];

export const tokensIn = (runs: readonly Run[]): number => runs.reduce((sum, [start, past]) => sum + past - start, 0);

/** The tokens of a rank. */
export interface Shard {
  /** In ascending order; none touches the next. */
  readonly runs: readonly Run[];
  readonly tokens: number;
  /** Pairs that its queries see, over all heads and batches. */
  readonly work: number;
}

/** The busiest rank may have so much of the mean before a layout of more runs is tried. */
const EVEN = 1.01;
/** Runs of the same work may have so many tokens beside the mean. */
const ALIKE = 1.25;
/** Most pieces of a rank: each border between pieces makes tiles of attention partial. */
const MOST_PIECES = 64;

/**
 * Divides the tokens of self-attention among ranks: the first of several layouts whose work is even within 1%, or the most even
 * one. A run for each rank; one from each end, which is even under a causal mask; runs of about equal lengths and the same work;
 * ever more pieces, dealt out by their work.
 */
export function shardsOf(mask: Mask, extent: Extent, ranks: number): readonly Shard[] {
  const before = workBefore(mask, extent);
  let best: readonly Shard[] | undefined;
  for (const shards of layouts(before, ranks)) {
    if (shards.some(({ tokens }) => tokens === 0)) continue;
    if (!best || unevenness(shards) < unevenness(best)) best = shards;
    if (unevenness(best) <= EVEN) break;
  }
  return best as readonly Shard[];
}

/** A run for each rank, of equally many tokens. */
export const contiguousShards = (mask: Mask, extent: Extent, ranks: number): readonly Shard[] =>
  runPerRank(workBefore(mask, extent), ranks);

/** The work of the busiest rank beside the mean. */
export function unevenness(shards: readonly Shard[]): number {
  const total = shards.reduce((sum, { work }) => sum + work, 0);
  return total === 0 ? 1 : (Math.max(...shards.map(({ work }) => work)) * shards.length) / total;
}

/** The pairs that the queries before each token see. */
function workBefore(mask: Mask, extent: Extent): Float64Array {
  const { n } = extent;
  const before = new Float64Array(n + 1);
  for (const { place, count } of distinctPlaces(mask, extent))
    for (let i = 0; i < n; i++) before[i + 1]! += count * keysSeen(mask, i, place);
  for (let i = 0; i < n; i++) before[i + 1]! += before[i] as number;
  return before;
}

/** Places that do not see the same, and how many see what each does. */
export function distinctPlaces(
  mask: Mask,
  extent: Extent,
): readonly { readonly place: Place; readonly count: number }[] {
  const places = new Map<number | string, { readonly place: Place; count: number }>();
  for (const place of placesOf(extent)) {
    const variant = mask.variant?.(place) ?? 0;
    const known = places.get(variant);
    if (known) known.count++;
    else places.set(variant, { place, count: 1 });
  }
  return [...places.values()];
}

function keysSeen(mask: Mask, i: number, place: Place): number {
  const intervals = mask.intervals?.(i, place);
  if (!intervals) return keyWords(mask, [i], place).count();
  let keys = 0;
  for (let at = 0; at < intervals.length; at += 2) keys += (intervals[at + 1] as number) - (intervals[at] as number);
  return keys;
}

function* layouts(before: Float64Array, ranks: number): Generator<readonly Shard[]> {
  yield runPerRank(before, ranks);
  const ends = piecesOf(before, 2 * ranks);
  yield shardsFrom(
    Array.from({ length: ranks }, (_, rank) => [ends[rank] as Piece, ends[2 * ranks - 1 - rank] as Piece]),
  );
  const sameWork = runsOfSameWork(before, ranks);
  if (sameWork.every(({ tokens }) => tokens * ranks <= ALIKE * (before.length - 1))) yield sameWork;
  for (let count = 2; count <= MOST_PIECES && count * ranks < before.length; count *= 2)
    yield shardsFrom(dealtOut(piecesOf(before, count * ranks), ranks));
}

const runPerRank = (before: Float64Array, ranks: number): readonly Shard[] =>
  shardsFrom(piecesOf(before, ranks).map((piece) => [piece]));

function runsOfSameWork(before: Float64Array, ranks: number): readonly Shard[] {
  const n = before.length - 1;
  const cuts = [0];
  for (let rank = 1, at = 0; rank < ranks; rank++) {
    while (at < n && (before[at] as number) < ((before[n] as number) * rank) / ranks) at++;
    cuts.push(at);
  }
  cuts.push(n);
  return shardsFrom(cuts.slice(1).map((past, rank) => [pieceOf(before, cuts[rank] as number, past)]));
}

interface Piece {
  readonly run: Run;
  readonly work: number;
}

/** Pieces of equally many tokens, but for one. */
function piecesOf(before: Float64Array, count: number): Piece[] {
  const n = before.length - 1;
  return Array.from({ length: count }, (_, at) =>
    pieceOf(before, Math.floor((n * at) / count), Math.floor((n * (at + 1)) / count)),
  );
}

const pieceOf = (before: Float64Array, start: number, past: number): Piece => ({
  run: [start, past],
  work: (before[past] as number) - (before[start] as number),
});

/** As many pieces for each rank: the largest first, to whoever has the least work; then exchanged while that helps. */
function dealtOut(pieces: readonly Piece[], ranks: number): Piece[][] {
  const hands = Array.from({ length: ranks }, () => ({ pieces: [] as Piece[], work: 0 }));
  const most = pieces.length / ranks;
  const idlest = () => hands.filter((hand) => hand.pieces.length < most).reduce((a, b) => (b.work < a.work ? b : a));
  for (const piece of [...pieces].sort((a, b) => b.work - a.work)) {
    const hand = idlest();
    hand.pieces.push(piece);
    hand.work += piece.work;
  }
  for (let round = 0; round < pieces.length; round++) {
    const [low, high] = [
      hands.reduce((a, b) => (b.work < a.work ? b : a)),
      hands.reduce((a, b) => (b.work > a.work ? b : a)),
    ];
    if (!exchange(high, low)) break;
  }
  return hands.map(({ pieces }) => pieces);
}

interface Hand {
  readonly pieces: Piece[];
  work: number;
}

/** Exchanges the two pieces by which the work of two ranks comes closest; false where none does. */
function exchange(high: Hand, low: Hand): boolean {
  const gap = high.work - low.work;
  let [best, from, to] = [gap, -1, -1];
  for (const [at, { work }] of high.pieces.entries())
    for (const [other, { work: lighter }] of low.pieces.entries()) {
      const left = Math.abs(gap - 2 * (work - lighter));
      if (left < best) [best, from, to] = [left, at, other];
    }
  if (from < 0) return false;
  const [given, taken] = [high.pieces[from] as Piece, low.pieces[to] as Piece];
  high.pieces[from] = taken;
  low.pieces[to] = given;
  high.work += taken.work - given.work;
  low.work += given.work - taken.work;
  return true;
}

const shardsFrom = (hands: readonly (readonly Piece[])[]): readonly Shard[] =>
  hands.map((pieces) => {
    const runs: Run[] = [];
    const nonEmpty = pieces.filter(({ run: [start, past] }) => start < past);
    for (const { run } of nonEmpty.sort((a, b) => a.run[0] - b.run[0])) {
      const last = runs.at(-1);
      if (last?.[1] === run[0]) runs[runs.length - 1] = [last[0], run[1]];
      else runs.push(run);
    }
    return { runs, tokens: tokensIn(runs), work: pieces.reduce((sum, { work }) => sum + work, 0) };
  });
