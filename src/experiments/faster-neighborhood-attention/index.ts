/** How neighborhood attention scales here, and what the shape of tiles wastes. */
import { full } from '../../masks/band';
import { neighborhood } from '../../masks/neighborhood';
import type { TileShapes } from '../../masks/neighborhood-tiles';
import { pearson } from '../../measure/statistics';
import { neighborhoodAttention } from '../../methods/sparse/neighborhood-attention';
import { chooseTiles, countTiles } from '../../simulate/choose-tiles';
import { simulateGna } from '../../simulate/gna';
import { sizeOf } from '../../tensor/shape';
import { formatBytes, formatRatio, significant } from '../../text/format';
import { chart, defineExperiment, figure, linearIn, type MeasureContext } from '../experiment';
import { bytesOf, held, randomQkv } from '../held';
import { timeOnGrids } from '../mask-speed';
import { Contest, medians, overRounds, type Rounds } from '../rounds';

const WINDOW = 7;
const HEADS = { h: 1, d: 32 };
const setting = (side: number, window = WINDOW) => ({ grid: [side, side], window });

export const experiment = defineExperiment({
  title: 'time by the size of the grid, and what the shape of tiles adds to the work',
  claims: {
    overhead: {
      claim:
        'Square tiles of several dimensions waste the least: at a window of 7 x 7, 64 queries in a row compute 10 times what they use, 8 x 8 of them 4 times.',
      source: 'reconstructed from the paper, figure 3',
      criteria: { distance: figure('largest distance from the ratios derived', [0, 0.05], [0, 10]) },
      byConstruction: true,
    },
    scaling: {
      claim: 'Time grows with the tokens, not with their square as that of self attention does.',
      source: 'paper, abstract',
      criteria: {
        near: linearIn('the tokens, neighborhood attention'),
        dense: figure('exponent of the tokens, exact attention', [1.9, 2.1], [1.75, 2.25], [0.5, 3.5]),
      },
      timed: true,
    },
    shapes: {
      claim: 'With tiles in the rank of the grid the kernel is faster than with tiles in a row, as it wastes less.',
      source: 'paper, section 3; the shapes are those of the kernels here',
      criteria: {
        gain: figure('time of tiles in a row over that of the tiles chosen', [1.05, 5], [1, 5], [0.2, 5]),
        follows: figure('correlation of time with the pairs computed', [0.8, 1], [0.5, 1], [-1, 1]),
      },
      timed: true,
    },
    memory: {
      claim:
        'The fused kernel never holds the attention weights, n times the window, which unfused ones write and read back.',
      source: 'paper, section 3 and equations 3 and 4',
      criteria: {
        growth: figure('bytes held at the larger window over those at the smaller', [0.8, 1.2], [0, 100]),
        share: figure('bytes held over those of the weights', [0, 0.5], [0, 1], [0, 100]),
      },
    },
  },
  measure: { overhead, scaling, shapes, memory },
});

/** Executed over useful pairs of an inner tile of 64 queries and its keys, as derived from the paper. */
const OVERHEADS: readonly (readonly [window: number, byTile: readonly number[]])[] = [
  [7, [10.0, 6.2, 4.49, 4.0]],
  [13, [5.85, 3.64, 2.65, 2.37]],
  [33, [2.91, 2.0, 1.59, 1.47]],
];
const TILES_OF_64 = [
  [1, 64],
  [2, 32],
  [4, 16],
  [8, 8],
];

function overhead() {
  const counted = OVERHEADS.map(([window]) =>
    TILES_OF_64.map((queryTile) => {
      const { visited } = simulateGna(setting(256, window), { queryTile, keyTile: [1, 1], tiling: 'dynamic' });
      return visited / window ** 2;
    }),
  );
  const distances = OVERHEADS.flatMap(([, known], row) =>
    known.map((value, at) => Math.abs(value - (counted[row]?.[at] as number))),
  );
  return {
    measured: counted
      .map((values, row) => `window ${OVERHEADS[row]?.[0]}: ${values.map((value) => value.toFixed(2)).join(', ')}`)
      .join('; '),
    values: { distance: Math.max(...distances) },
    details: `Keys that the worst tile of ${TILES_OF_64.map((tile) => tile.join(' x ')).join(', ')} queries computes, over those that one query sees: counted on a grid of 256 x 256, key by key.`,
  };
}

async function scaling(context: MeasureContext) {
  const sides = context.quick ? [8, 16] : [32, 48, 64, 80, 96];
  const tokens = sides.map((side) => side ** 2);
  const problems = sides.map((side) => ({
    grid: [side, side],
    ...HEADS,
    masks: [full(), neighborhood(setting(side), chooseTiles(setting(side)))],
  }));
  const rounds = await timeOnGrids(problems, context.part(0, 0.5, 'sizes of the grid'));
  const contest = new Contest(tokens, ['exact attention', 'neighborhood attention'], rounds.flat());
  const [dense, near] = [contest.growth('exact attention'), contest.growth('neighborhood attention')];
  const { medians } = contest;
  const [slow, fast] = [medians['exact attention'], medians['neighborhood attention']];
  return {
    measured: `time grows as n^${near.value.toFixed(2)}, exact attention's as n^${dense.value.toFixed(2)}; ${formatRatio(slow.at(-1)! / fast.at(-1)!)} as fast at ${tokens.at(-1)} tokens`,
    values: { near, dense },
    details: `Window ${WINDOW} x ${WINDOW}, one head of ${HEADS.d}, f32, forward only, medians. What a call costs whatever the tokens makes the exponent smaller. The paper's 3-digit gains are over kernels of GPUs and are not comparable.`,
    series: chart('Milliseconds by tokens', { tokens }, medians),
  };
}

async function shapes(context: MeasureContext) {
  const side = context.quick ? 16 : 96;
  const tried: readonly TileShapes[] = [
    { queries: [1, 24], keys: [1, 6] },
    { queries: [2, 12], keys: [1, 6] },
    { queries: [3, 8], keys: [2, 3] },
    { queries: [4, 6], keys: [2, 3] },
    chooseTiles(setting(side)),
  ];
  const problem = { grid: [side, side], ...HEADS, masks: tried.map((tiles) => neighborhood(setting(side), tiles)) };
  const [rounds] = (await timeOnGrids([problem], context.part(0.5, 1, 'shapes of tiles'))) as [Rounds];
  const times = medians(rounds);
  const useful = side ** 2 * WINDOW ** 2;
  const overheads = tried.map((tiles) => (countTiles(setting(side), tiles) * 144) / useful);
  const labels = tried.map(({ queries, keys, padding }) =>
    [`${queries.join(' x ')} by ${keys.join(' x ')}`, padding ? `padded ${padding.join(' x ')}` : []].flat().join(' '),
  );
  const follows = overRounds(rounds, (round) => pearson(overheads, round));
  return {
    measured: `${labels.map((label, at) => `${label}: ${significant(overheads[at]!)} times the pairs used, ${significant(times[at]!)} ms`).join('; ')}`,
    values: { gain: overRounds(rounds, (round) => round[0]! / round.at(-1)!), follows },
    details: `Tiles of 24 queries and panels of 6 keys on a grid of ${side} x ${side}, window ${WINDOW} x ${WINDOW}, medians; the last shape is the one chosen by counting.`,
    series: [
      chart('Pairs computed over pairs used, by tiles', { tiles: labels }, { 'computed over used': overheads }),
      chart('Milliseconds, by tiles', { tiles: labels }, { ms: times }),
    ],
  };
}

async function memory({ runtime, quick, signal }: MeasureContext) {
  const grid = quick ? [16, 16] : [96, 96];
  const windows = quick ? [3, 7] : [7, 33];
  const qkv = randomQkv(runtime, [1, ...grid, HEADS.h, HEADS.d]);
  using _ = held(qkv);
  const results = 4 * sizeOf(grid) * HEADS.h * (HEADS.d + 1);
  const bytes: number[] = [];
  for (const window of windows) {
    const params = neighborhoodAttention.parse({ window });
    const call = () => neighborhoodAttention.forward(qkv, params, { signal });
    bytes.push((await bytesOf(runtime, call)) - results);
  }
  const weights = windows.map((window) => 4 * sizeOf(grid) * HEADS.h * window ** 2);
  const growth = bytes[1]! / bytes[0]!;
  return {
    measured: windows
      .map(
        (window, at) =>
          `window ${window} x ${window}: ${formatBytes(bytes[at]!)} held, the weights would take ${formatBytes(weights[at]!)}`,
      )
      .join('; '),
    values: { growth, share: bytes[1]! / weights[1]! },
    details: `Beside inputs and results, on a grid of ${grid.join(' x ')} with one head of ${HEADS.d}: packed keys and values and the tiles to visit.`,
  };
}
