/** Counts the key tiles that query tiles visit, by enumeration. */
import { ParameterError } from '../errors';
import { groupLength, groupWindow, type NeighborhoodAxis } from '../masks/neighborhood-axis';
import { sizeOf } from '../tensor/shape';

/**
 * Where key tiles begin. Static: on a fixed grid. Dynamic: at the first key that the query tile sees (the region is cut out
 * first, then tiled).
 */
export type Tiling = 'static' | 'dynamic';

/** Tile shapes with an extent for each axis of the grid, or with one extent for the grid flattened in row-major order. */
export interface GnaTiles {
  readonly queryTile: readonly number[];
  readonly keyTile: readonly number[];
  /** Default: static. */
  readonly tiling?: Tiling;
}

/** Key tiles that a query tile visits. */
export interface TileCount {
  readonly worst: number;
  /** Over all query tiles. */
  readonly mean: number;
  readonly queryTiles: number;
}

/** The key tiles of one query tile, and the number of dilation groups with one like it. */
interface TileVisit {
  readonly visited: number;
  readonly groups: number;
}

/** A part of the query tiles, and the padding of key tiles. */
export interface TilePart {
  /** The first and one past the last query. */
  readonly part: Interval;
  /** Slots without a token before the first key. */
  readonly padding: number;
}

/** Key tiles along one axis that a part of the query tiles visits, summed over those of every dilation group. */
export function sumAxisTiles(axis: NeighborhoodAxis, queryTile: number, keyTile: number, part: TilePart): number {
  let sum = 0;
  for (const { visited, groups } of axisTileVisits(axis, queryTile, keyTile, 'static', part)) sum += groups * visited;
  return sum;
}

/** Counts along one axis, over the query tiles of every dilation group. */
export function countAxisTiles(axis: NeighborhoodAxis, queryTile: number, keyTile: number, tiling: Tiling): TileCount {
  return summary(axisTileVisits(axis, queryTile, keyTile, tiling));
}

/** Whether every query tile along one axis visits fewer than `limit` key tiles. */
export function visitsFewer(
  axis: NeighborhoodAxis,
  queryTile: number,
  keyTile: number,
  tiling: Tiling,
  limit: number,
): boolean {
  for (const { visited } of axisTileVisits(axis, queryTile, keyTile, tiling)) if (visited >= limit) return false;
  return true;
}

function* axisTileVisits(
  axis: NeighborhoodAxis,
  queryTile: number,
  keyTile: number,
  tiling: Tiling,
  { part: [from, past], padding }: TilePart = { part: [0, queryTile], padding: 0 },
): Generator<TileVisit> {
  for (const { length, groups } of groupLengths(axis)) {
    for (let first = from; first < length; first += queryTile) {
      const [start, end] = tileWindow(axis, first, Math.min(first + past - from, length) - 1, length);
      yield { visited: tilesOf([start + padding, end + padding], keyTile, tiling), groups };
    }
  }
}

/**
 * Counts on the grid flattened in row-major order (each dilation group is such a grid), over its query tiles of `queryTile`
 * consecutive tokens: the key tiles of `keyTile` consecutive tokens with a key that one of the queries sees.
 */
export function countFlatTiles(
  axes: readonly NeighborhoodAxis[],
  queryTile: number,
  keyTile: number,
  tiling: Tiling,
): TileCount {
  if (tiling === 'dynamic') {
    throw new ParameterError("tiling must be 'static' where tiles are of the flattened grid, got 'dynamic'");
  }
  checkCountable(axes, queryTile, keyTile);
  return summary(flatTileVisits(axes, queryTile, keyTile));
}

function summary(visits: Iterable<TileVisit>): TileCount {
  let [worst, sum, queryTiles] = [0, 0, 0];
  for (const { visited, groups } of visits) {
    worst = Math.max(worst, visited);
    sum += groups * visited;
    queryTiles += groups;
  }
  return { worst, mean: sum / queryTiles, queryTiles };
}

/** Visits that can be counted in a few seconds, and tokens whose tiles fit in memory. */
const MOST_VISITS = 2 ** 27;
const MOST_TOKENS = 2 ** 24;

function checkCountable(axes: readonly NeighborhoodAxis[], queryTile: number, keyTile: number): void {
  const { length, window } = axes.at(-1) as NeighborhoodAxis;
  const tokens = sizeOf(axes.map((axis) => axis.length));
  const rows = (tokens / Math.min(queryTile, length)) * sizeOf(axes.slice(0, -1).map((axis) => axis.window));
  const visits = rows * (1 + window / keyTile);
  if (tokens <= MOST_TOKENS && visits <= MOST_VISITS) return;
  throw new ParameterError(
    `tiles of ${queryTile} queries and ${keyTile} keys are too many to count on a flattened grid of ${tokens} tokens: ` +
      'give larger ones, or an extent for each axis',
  );
}

/** The lengths of an axis's dilation groups, one or two different ones, and how many groups have each. */
export function groupLengths(axis: NeighborhoodAxis): { length: number; groups: number }[] {
  const longer = axis.length % axis.dilation || axis.dilation;
  const lengths = [{ length: groupLength(axis, 0), groups: longer }];
  if (longer < axis.dilation) lengths.push({ length: groupLength(axis, longer), groups: axis.dilation - longer });
  return lengths;
}

function groupShapes(axes: readonly NeighborhoodAxis[]): { lengths: readonly number[]; groups: number }[] {
  return axes.reduce(
    (shapes, axis) =>
      shapes.flatMap((shape) =>
        groupLengths(axis).map(({ length, groups }) => ({
          lengths: [...shape.lengths, length],
          groups: shape.groups * groups,
        })),
      ),
    [{ lengths: [] as readonly number[], groups: 1 }],
  );
}

type Interval = readonly [start: number, end: number];

/** The keys that consecutive queries see: windows move with their queries and leave no gaps. */
function tileWindow(axis: NeighborhoodAxis, first: number, last: number, length: number): Interval {
  return [groupWindow(axis, first, length)[0], groupWindow(axis, last, length)[1]];
}

function tilesOf([start, end]: Interval, keyTile: number, tiling: Tiling): number {
  if (tiling === 'dynamic') return Math.ceil((end - start) / keyTile);
  return Math.ceil(end / keyTile) - Math.floor(start / keyTile);
}

function* flatTileVisits(axes: readonly NeighborhoodAxis[], queryTile: number, keyTile: number): Generator<TileVisit> {
  for (const { lengths, groups } of groupShapes(axes)) {
    for (const visited of flatGroupVisits(axes, lengths, queryTile, keyTile)) yield { visited, groups };
  }
}

/** For each query tile of a flattened group, the number of key tiles with a key that one of its queries sees. */
function* flatGroupVisits(
  axes: readonly NeighborhoodAxis[],
  lengths: readonly number[],
  queryTile: number,
  keyTile: number,
): Generator<number> {
  const rowAxis = axes.at(-1) as NeighborhoodAxis;
  const rowLength = lengths.at(-1) as number;
  const size = sizeOf(lengths);
  // The last query tile, counted from 1, that visited each key tile.
  const visitors = new Int32Array(Math.ceil(size / keyTile));
  let row = -1;
  let rows: readonly number[] = [];
  for (let first = 0, visitor = 1; first < size; first += queryTile, visitor++) {
    const past = Math.min(first + queryTile, size);
    let visited = 0;
    // By rows: queries of one row see the same rows of keys.
    for (let start = first, end: number; start < past; start = end) {
      if (row !== Math.floor(start / rowLength)) {
        row = Math.floor(start / rowLength);
        rows = rowsSeen(axes, lengths, row);
      }
      const offset = row * rowLength;
      end = Math.min(past, offset + rowLength);
      const [from, to] = tileWindow(rowAxis, start - offset, end - 1 - offset, rowLength);
      for (const keyRow of rows) {
        const last = Math.floor((keyRow * rowLength + to - 1) / keyTile);
        for (let tile = Math.floor((keyRow * rowLength + from) / keyTile); tile <= last; tile++) {
          if (visitors[tile] !== visitor) visited++;
          visitors[tile] = visitor;
        }
      }
    }
    yield visited;
  }
}

/** The rows (all axes but the last, flattened) whose keys the queries of `row` see. */
function rowsSeen(axes: readonly NeighborhoodAxis[], lengths: readonly number[], row: number): number[] {
  let rows = [0];
  let below = sizeOf(lengths.slice(0, -1));
  for (let at = 0; at < axes.length - 1; at++) {
    const length = lengths[at] as number;
    below /= length;
    const [start, end] = groupWindow(axes[at] as NeighborhoodAxis, Math.floor(row / below) % length, length);
    rows = rows.flatMap((above) => Array.from({ length: end - start }, (_, key) => above * length + start + key));
  }
  return rows;
}
