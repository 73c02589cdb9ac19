/**
 * Neighborhood attention on a grid of one to three axes, tokens in row-major order: a query sees the keys that lie in
 * its window on every axis. With strides it is generalized neighborhood attention.
 * Sources: Hassani et al. 2024, arXiv 2403.04690; Hassani et al. 2025, arXiv 2504.16922.
 */
import { checkKnown, checkParams, checkRecord, isNumbers, show } from '../check';
import { ParameterError } from '../errors';
import { checkTokens } from './check';
import { pushRun } from './intervals';
import { type Arrangement, interned, type Mask } from './mask';
import { axisKeys, checkNeighborhoodAxis, type NeighborhoodAxis } from './neighborhood-axis';
import { arrangeGrid, type Three, type TileShapes } from './neighborhood-tiles';

/** One value for all axes, or one for each. */
export type PerAxis<Value> = Value | readonly Value[];

export interface NeighborhoodParams {
  /** Tokens along each axis, the last one's neighbours next to each other. */
  readonly grid: readonly number[];
  /** Keys seen along each axis. */
  readonly window: PerAxis<number>;
  /** Consecutive queries that share a window; default: 1. */
  readonly stride?: PerAxis<number>;
  /** Distance between neighbouring keys; default: 1. */
  readonly dilation?: PerAxis<number>;
  /** Default: false. */
  readonly causal?: PerAxis<boolean>;
}

/** By number of axes: 24 queries and 6 keys a tile. */
export const GRID_TILES: readonly TileShapes[] = [
  { queries: [24], keys: [6] },
  { queries: [4, 6], keys: [2, 3] },
  { queries: [2, 3, 4], keys: [1, 2, 3] },
];

/**
 * Each query of a grid sees the keys in a window around it.
 *
 * @param tiles along each axis, the tokens of a query tile and of a key tile of the arrangement, and its padding; default:
 * `GRID_TILES`
 * @throws {ParameterError} params or tiles that do not fit the grid
 */
export function neighborhood(params: NeighborhoodParams, tiles?: TileShapes): Mask {
  checkParams('neighborhood', params, ['grid', 'window', 'stride', 'dilation', 'causal']);
  const axes = gridAxes(params);
  const rank = axes.length;
  const shapes = checkTiles(tiles === undefined ? (GRID_TILES[rank - 1] as TileShapes) : tiles, rank);
  const [outer, middle, inner] = threeAxes(axes);
  const tokens = outer.length * middle.length * inner.length;
  const row = inner.length;
  let arrangement: Arrangement | undefined;

  const mask: Mask = {
    name: nameOf(axes, tiles),
    sees(i, j) {
      let [query, key] = [i, j];
      for (const axis of [inner, middle, outer]) {
        if (!seesOnAxis(axis, query % axis.length, key % axis.length)) return false;
        query = Math.floor(query / axis.length);
        key = Math.floor(key / axis.length);
      }
      return true;
    },
    intervals(i) {
      const runs: number[] = [];
      const line = Math.floor(i / row);
      const x = axisKeys(outer, Math.floor(line / middle.length));
      const y = axisKeys(middle, line % middle.length);
      const z = axisKeys(inner, i % row);
      for (let atX = 0; atX < x.count; atX++) {
        for (let atY = 0; atY < y.count; atY++) {
          const base = ((x.first + atX * x.step) * middle.length + y.first + atY * y.step) * row + z.first;
          if (z.step === 1) pushRun(runs, base, base + z.count);
          else for (let at = 0; at < z.count; at++) pushRun(runs, base + at * z.step, base + at * z.step + 1);
        }
      }
      return runs;
    },
    // Along one axis without dilation the tokens are in tiles already.
    ...((rank > 1 || inner.dilation > 1) && {
      arrange() {
        arrangement ??= arrangeGrid([outer, middle, inner], {
          queries: three(shapes.queries, 1),
          keys: three(shapes.keys, 1),
          ...(shapes.padding && { padding: three(shapes.padding, 0) }),
        });
        return arrangement;
      },
    }),
    check: (extent) => checkTokens(mask.name, tokens, extent),
  };
  return interned(mask);
}

function seesOnAxis(axis: NeighborhoodAxis, query: number, key: number): boolean {
  const { first, count, step } = axisKeys(axis, query);
  const ahead = key - first;
  return ahead >= 0 && ahead % step === 0 && ahead / step < count;
}

/** One axis for each of the grid, with defaults filled in; throws a ParameterError unless everything fits. */
export function gridAxes(params: NeighborhoodParams): NeighborhoodAxis[] {
  checkRecord('params of a neighborhood', params);
  const { grid, window, stride = 1, dilation = 1, causal = false } = params;
  if (!Array.isArray(grid)) throw new ParameterError(`grid must be a list of 1 to 3 axes, got ${show(grid)}`);
  const rank = grid.length;
  if (rank < 1 || rank > 3) throw new ParameterError(`grid must have 1 to 3 axes, got ${rank}`);
  const [windows, strides, dilations, causals] = [
    perAxis('window', window, rank),
    perAxis('stride', stride, rank),
    perAxis('dilation', dilation, rank),
    perAxis('causal', causal, rank),
  ];
  const axes = Array.from(grid as readonly number[], (length, at) => ({
    length,
    window: windows[at] as number,
    stride: strides[at] as number,
    dilation: dilations[at] as number,
    causal: causals[at] as boolean,
  }));
  axes.forEach(checkNeighborhoodAxis);
  return axes;
}

function perAxis<Value>(what: string, value: PerAxis<Value>, rank: number): readonly Value[] {
  const values = Array.isArray(value) ? (value as readonly Value[]) : new Array<Value>(rank).fill(value as Value);
  if (values.length === rank) return values;
  const expected = rank === 1 ? 'one value for the one axis' : `one value or one for each of the ${rank} axes`;
  throw new ParameterError(`${what} must be ${expected}, got ${values.length}`);
}

function checkTiles(tiles: TileShapes, rank: number): TileShapes {
  checkKnown('tiles', tiles, ['queries', 'keys', 'padding'], (name) => `tiles have no '${name}'`);
  for (const [side, shape] of [['queries', tiles.queries] as const, ['keys', tiles.keys] as const]) {
    if (
      isNumbers(shape) &&
      shape.length === rank &&
      Array.from(shape).every((extent) => Number.isSafeInteger(extent) && extent >= 1)
    )
      continue;
    throw new ParameterError(`${side} of tiles must be ${rank} integers >= 1, got ${show(shape)}`);
  }
  const { padding } = tiles;
  if (
    padding !== undefined &&
    !(
      isNumbers(padding) &&
      padding.length === rank &&
      Array.from(padding).every((slots) => Number.isSafeInteger(slots) && slots >= 0)
    )
  ) {
    throw new ParameterError(`padding of key tiles must be ${rank} integers >= 0, got ${show(padding)}`);
  }
  return tiles;
}

/** With axes of one token before the given ones. */
function threeAxes(axes: readonly NeighborhoodAxis[]): Three<NeighborhoodAxis> {
  return three(axes, { length: 1, window: 1, stride: 1, dilation: 1, causal: false });
}

function three<Value>(values: readonly Value[], before: Value): Three<Value> {
  return [...new Array<Value>(3 - values.length).fill(before), ...values] as unknown as Three<Value>;
}

function nameOf(axes: readonly NeighborhoodAxis[], tiles?: TileShapes): string {
  const each = (what: 'length' | 'window' | 'stride' | 'dilation') => axes.map((axis) => axis[what]);
  const isOne = (value: number) => value === 1;
  const causal = axes.map((axis) => axis.causal);
  return [
    `neighborhood ${each('window').join('x')} of ${each('length').join('x')}`,
    each('stride').every(isOne) ? [] : `stride ${each('stride').join('x')}`,
    each('dilation').every(isOne) ? [] : `dilation ${each('dilation').join('x')}`,
    causal.includes(true) ? `causal on ${causal.flatMap((is, at) => (is ? `axis ${at}` : [])).join(', ')}` : [],
    tiles ? `tiles ${tiles.queries.join('x')} by ${tiles.keys.join('x')}` : [],
    tiles?.padding?.some((slots) => slots > 0) ? `padded ${tiles.padding.join('x')}` : [],
  ]
    .flat()
    .join(' ');
}
