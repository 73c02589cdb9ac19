/** The key tiles that query tiles visit, by enumeration. */
import { ParameterError } from '../errors';
import { groupLength, groupWindow, type NeighborhoodAxis } from '../masks/neighborhood-axis';
import { sizeOf } from '../tensor/shape';

/**
 * Where key tiles lie. Static: on a grid of their own. Dynamic: from the first key that the query tile sees (the
 * region is cut out first, then tiled).
 */
export type Tiling = 'static' | 'dynamic';

/** Key tiles that a query tile visits. */
export interface TileCount {
  readonly worst: number;
  /** Over all query tiles. */
  readonly mean: number;
}

/** Along one axis, over the query tiles of every dilation group. */
export function countAxisTiles(axis: NeighborhoodAxis, queryTile: number, keyTile: number, tiling: Tiling): TileCount {
  let [worst, sum, queryTiles] = [0, 0, 0];
  for (const { length, groups } of groupLengths(axis)) {
    for (let first = 0; first < length; first += queryTile) {
      const last = Math.min(first + queryTile, length) - 1;
      const visited = tilesOf(tileWindow(axis, first, last, length), keyTile, tiling);
      worst = Math.max(worst, visited);
      sum += groups * visited;
      queryTiles += groups;
    }
  }
  return { worst, mean: sum / queryTiles };
}

/** Tokens of the largest grid whose tiles are counted one by one. */
const LARGEST_FLAT = 2 ** 20;

/**
 * Over the query tiles of `queryTile` consecutive tokens of the grid flattened in row-major order (each dilation group
 * is such a grid): the key tiles of `keyTile` consecutive tokens that hold a key seen by any of the queries.
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
  const tokens = sizeOf(axes.map((axis) => axis.length));
  if (tokens > LARGEST_FLAT) {
    throw new ParameterError(`grid must have at most ${LARGEST_FLAT} tokens to be tiled flattened, got ${tokens}`);
  }
  let [worst, sum, queryTiles] = [0, 0, 0];
  for (const { lengths, groups } of groupShapes(axes)) {
    const size = sizeOf(lengths);
    for (let first = 0; first < size; first += queryTile) {
      const visited = countFlatTile(axes, lengths, first, Math.min(first + queryTile, size), keyTile);
      worst = Math.max(worst, visited);
      sum += groups * visited;
      queryTiles += groups;
    }
  }
  return { worst, mean: sum / queryTiles };
}

/** The lengths that dilation groups of an axis have, one or two of them, and how many groups have each. */
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

/** What consecutive queries see together: windows move on with their queries and leave no gaps. */
function tileWindow(axis: NeighborhoodAxis, first: number, last: number, length: number): Interval {
  return [groupWindow(axis, first, length)[0], groupWindow(axis, last, length)[1]];
}

function tilesOf([start, end]: Interval, keyTile: number, tiling: Tiling): number {
  if (tiling === 'dynamic') return Math.ceil((end - start) / keyTile);
  return Math.ceil(end / keyTile) - Math.floor(start / keyTile);
}

/** Key tiles with a key that any of the queries `first` to `past` of a flattened group sees. */
function countFlatTile(
  axes: readonly NeighborhoodAxis[],
  lengths: readonly number[],
  first: number,
  past: number,
  keyTile: number,
): number {
  const rowLength = lengths.at(-1) as number;
  const visited = new Set<number>();
  for (let start = first, end: number; start < past; start = end) {
    const row = Math.floor(start / rowLength);
    end = Math.min(past, (row + 1) * rowLength);
    const offset = row * rowLength;
    const [from, to] = tileWindow(axes.at(-1) as NeighborhoodAxis, start - offset, end - 1 - offset, rowLength);
    for (const keyRow of rowsSeen(axes, lengths, row)) {
      const last = Math.floor((keyRow * rowLength + to - 1) / keyTile);
      for (let tile = Math.floor((keyRow * rowLength + from) / keyTile); tile <= last; tile++) visited.add(tile);
    }
  }
  return visited.size;
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
