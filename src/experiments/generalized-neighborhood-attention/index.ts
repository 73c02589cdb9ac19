/** Whether time follows the tiles computed, as the paper's simulator has it, and what strides and tile shapes gain here. */
import { full } from '../../masks/band';
import type { Mask } from '../../masks/mask';
import { GRID_TILES, gridAxes, type NeighborhoodParams, neighborhood } from '../../masks/neighborhood';
import type { TileShapes } from '../../masks/neighborhood-tiles';
import { geometricMean, pearson } from '../../measure/statistics';
import { attention } from '../../ops/attention';
import { isBlockSparse } from '../../simulate/block-sparse';
import { chooseTiles, countTiles, tileCandidates } from '../../simulate/choose-tiles';
import { besidePublished, publishedRows } from '../../simulate/published';
import { uniform } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import { formatPercent, formatRatio, significant } from '../../text/format';
import { chart, defineExperiment, figure, type MeasureContext, OF_POSSIBLE, share, together } from '../experiment';
import { numbersOf } from '../held';
import { timeOnGrids } from '../mask-speed';
import { medians, overProblems, overRounds, type Rounds } from '../rounds';
import { relativeDistance } from '../vectors';

type Setting = NeighborhoodParams & { readonly grid: readonly number[]; readonly window: readonly number[] };

const HEADS = { h: 2, d: 64 };
const SETUP = `${HEADS.h} heads of ${HEADS.d}, f32, forward only, with exact attention of the same kernels as the baseline; medians of repeats in turns, each result checked against float64.`;

/** How far ours may be from a published end-to-end speed-up, which follows from bounds rounded to one decimal. */
const TOLERANCE = 0.016;

export const experiment = defineExperiment({
  title: 'speed-up by stride, beside the bounds that follow from the tiles computed',
  claims: {
    published: {
      claim: 'The bounds of its simulator for HunyuanVideo, FLUX and Cosmos with 23 windows and strides.',
      source: 'paper, tables 2 to 6',
      criteria: { within: share(`share of the end-to-end speed-ups within ${TOLERANCE}`, [1, 1], [0.9, 1]) },
    },
    tilesTell: {
      claim: "The tiles visited tell the time: the simulator's bounds are close to what runs.",
      source: 'paper, tables 2 to 5 and figure 3: simulated beside actual',
      criteria: {
        correlation: figure('correlation of time with the tiles computed', [0.95, 1], [0.8, 1], [-1, 1]),
        share: figure('largest speed-up, over the bound', [0.7, 1.15], [0.4, 1.15], OF_POSSIBLE),
      },
      timed: true,
    },
    blockSparse: {
      claim:
        'Where no visited tile needs a mask, the speed-up is that of the multiplications saved; at stride 1 it is not.',
      source: 'paper, abstract and section 3',
      criteria: {
        blocked: figure(
          'least speed-up of block-sparse strides, of the multiplications saved',
          [0.8, 1.15],
          [0.6, 1.15],
          OF_POSSIBLE,
        ),
        sliding: figure('speed-up of stride 1, of the multiplications saved', [0, 0.8], OF_POSSIBLE),
      },
      timed: true,
    },
    staircase: {
      claim: 'Speed-up climbs in steps: strides that visit no fewer tiles than every smaller one can be dropped.',
      source: 'paper, figure 3 and the pruning rule',
      criteria: {
        lost: figure(
          'by how much the best of those dropped is faster than the best smaller one kept',
          [-1, 0.05],
          [-1, 0.15],
          [-1, 1],
        ),
        gain: figure('speed-up of the best stride kept over that of stride 1', [1.1, 5], [0.2, 5]),
      },
      timed: true,
    },
    chosenTiles: {
      claim: 'Tiles can be chosen by counting, instead of by timing every shape.',
      source: "reconstructed: the code's profiler tries all (--optimize), the paper chooses by hand",
      criteria: {
        best: figure(
          'time of the shapes chosen over that of the fastest, geometric mean',
          [0.95, 1.05],
          [0.9, 1.15],
          [0.5, 5],
        ),
        faster: figure(
          'time of the default shapes over that of those chosen, geometric mean',
          [1.05, 3],
          [0.98, 3],
          [0.2, 3],
        ),
      },
      timed: true,
    },
    accuracy: {
      claim: 'Strides between sliding and blocked cost little accuracy; blocks cost more.',
      source: 'paper: at one window VBench of 83.24 for stride 1, 83.40 with strides, 82.25 for blocks',
      criteria: {
        between: figure('largest distance at strides between, over that at stride 1', [0, 1.25], [0, 2], [0, 1000]),
        blocks: figure('distance for blocks over the largest at strides between', [1.25, 1000], [1, 1000], [0, 1000]),
      },
      untested: 'No model was run: distances to exact attention on smooth fields stand in for VBench.',
    },
  },
  measure: { published, ...together(['tilesTell', 'blockSparse'], strides), staircase, chosenTiles, accuracy },
});

function published() {
  const rows = publishedRows.map(besidePublished);
  const errors = rows.map(({ allSteps, computed }) => Math.abs(allSteps.simulated - computed.allSteps));
  const within = errors.filter((error) => error <= TOLERANCE).length;
  return {
    measured: `${within} of ${rows.length} end-to-end speed-ups within ${TOLERANCE}`,
    values: { within: within / rows.length },
    details: `The simulator is unreleased; ours counts the key tiles of the worst query tile. ${rows.flatMap(({ model, notReproduced }) => (notReproduced ? [`${model}: ${notReproduced}.`] : [])).join(' ')} \`saccade simulate gna --published\` shows the rows.`,
  };
}

/** Strides of a grid of three axes, from sliding to blocked. */
const STRIDES: readonly (readonly number[])[] = [
  [1, 1, 1],
  [1, 1, 2],
  [1, 2, 2],
  [1, 1, 8],
  [2, 2, 2],
  [1, 4, 4],
  [3, 1, 4],
  [3, 2, 4],
  [1, 8, 8],
  [2, 4, 4],
  [3, 4, 4],
  [2, 8, 8],
  [3, 4, 8],
  [6, 8, 8],
];

async function strides(context: MeasureContext) {
  const [grid, window] = context.quick
    ? [
        [6, 8, 8],
        [6, 4, 4],
      ]
    : [
        [12, 16, 16],
        [6, 8, 8],
      ];
  const tried = STRIDES.filter((stride) => stride.every((extent, axis) => extent <= window[axis]!));
  const settings = tried.map((stride) => ({ grid, window, stride }));
  const { rounds, tiles, computed, bounds, speedups } = await besideFull(
    settings,
    context.part(0, 0.25, 'strides on three axes'),
  );
  const saved = sizeOf(grid) / sizeOf(window);
  const isSparse = settings.map((setting, at) => needsNoMask(setting, tiles[at] as TileShapes));
  const correlation = overRounds(rounds, ([, ...round]) => pearson(computed, round));
  const largest = overRounds(rounds, ([full, ...round]) =>
    Math.max(...round.map((time, at) => (full as number) / time / bounds[at]!)),
  );
  const labels = tried.map((stride) => stride.join('x'));
  const blocked = speedups.filter((_, at) => isSparse[at]);
  const [sliding] = speedups as [number, ...number[]];
  const blockedShare = overRounds(
    rounds,
    ([full, ...round]) => (full as number) / Math.max(...round.filter((_, at) => isSparse[at])) / saved,
  );
  const slidingShare = overRounds(rounds, ([full, first]) => (full as number) / (first as number) / saved);
  return {
    tilesTell: {
      measured: `r = ${correlation.value.toFixed(3)} between tiles computed and time, over ${tried.length} strides; at most ${formatPercent(largest.value)} of the bound`,
      values: { correlation, share: largest },
      details: `Grid ${grid.join(' x ')}, window ${window.join(' x ')}, ${SETUP}`,
      series: chart(
        `Strides on a grid of ${grid.join(' x ')}, window ${window.join(' x ')}`,
        { stride: labels },
        { bound: bounds, 'speed-up': speedups },
      ),
    },
    blockSparse: {
      measured: `${labels.filter((_, at) => isSparse[at]).join(', ')}: ${blocked.map(formatRatio).join(', ')}; stride 1: ${formatRatio(sliding)}; saved are ${formatRatio(saved)}`,
      values: { blocked: blockedShare, sliding: slidingShare },
      details: `Grid ${grid.join(' x ')}, window ${window.join(' x ')}.`,
    },
  };
}

/** Settings on one grid beside exact attention, the first of the rounds: the tiles computed, the bounds that follow, the times. */
async function besideFull(settings: readonly Setting[], context: MeasureContext) {
  const { grid } = settings[0]!;
  const tiles = settings.map(chooseTiles);
  const masks = settings.map((setting, at) => neighborhood(setting, tiles[at]));
  const [rounds] = (await timeOnGrids([{ grid, ...HEADS, masks: [full(), ...masks] }], context)) as [Rounds];
  const [dense, ...times] = medians(rounds) as [number, ...number[]];
  const computed = settings.map((setting, at) => countTiles(setting, tiles[at]!));
  const bounds = computed.map((count) => denseTiles(grid) / count);
  return { rounds, tiles, computed, bounds, times, speedups: times.map((time) => dense / time) };
}

function needsNoMask(setting: Setting, { queries, keys }: TileShapes): boolean {
  return isBlockSparse(gridAxes(setting), { queryTile: queries, keyTile: keys, tiling: 'static' });
}

/** The tiles of exact attention: all of 24 queries with all panels of 6 keys. */
function denseTiles(grid: readonly number[]): number {
  return Math.ceil(sizeOf(grid) / 24) * Math.ceil(sizeOf(grid) / 6);
}

async function staircase(context: MeasureContext) {
  const [side, width] = context.quick ? [16, 8] : [48, 16];
  const [grid, window] = [
    [side, side],
    [width, width],
  ] as const;
  const strides = Array.from({ length: width }, (_, at) => at + 1);
  const settings = strides.map((stride) => ({ grid, window, stride }));
  const { rounds, computed, bounds, times, speedups } = await besideFull(
    settings,
    context.part(0.25, 0.5, 'every stride of a window'),
  );
  // The pruning rule: a stride must beat every smaller one.
  const kept = strides.filter((_, at) => computed.slice(0, at).every((before) => computed[at]! < before));
  const best = (list: readonly number[]) => Math.max(...list.map((stride) => speedups[stride - 1]!));
  const dropped = strides.filter((stride) => !kept.includes(stride));
  const fastest = (list: readonly number[]) => list.find((stride) => speedups[stride - 1] === best(list)) as number;
  // Which strides are compared follows from the medians, how they compare from the rounds.
  const lost = (stride: number) => {
    const smaller = fastest(kept.filter((other) => other < stride));
    return overRounds(rounds, (round) => round[smaller]! / round[stride]! - 1);
  };
  const most = dropped.map(lost).reduce((a, c) => (c.value > a.value ? c : a));
  const gain = overRounds(rounds, (round) => round[1]! / round[fastest(kept)]!);
  return {
    measured: `strides ${kept.join(', ')} of 1 to ${width} are kept and reach ${formatRatio(best(kept))} (stride 1: ${formatRatio(speedups[0]!)}); the best of those dropped takes ${formatRatio(1 / (1 + most.value))} the time of a smaller one that is kept`,
    values: { lost: most, gain },
    details: `Grid ${side} x ${side}, window ${width} x ${width}, the same stride on both axes, tiles chosen for each; r = ${pearson(computed, times).toFixed(3)} between tiles computed and time. ${SETUP}`,
    series: chart(
      `Strides on a grid of ${side} x ${side}, window ${width} x ${width}`,
      { stride: strides },
      { bound: bounds, 'speed-up': speedups },
    ),
  };
}

/** Windows that are long, thin, strided or dilated. */
const SHAPES: readonly Setting[] = [
  { grid: [24, 96], window: [24, 7] },
  { grid: [16, 128], window: [3, 31] },
  { grid: [56, 56], window: [7, 7], dilation: 8 },
  { grid: [12, 16, 16], window: [6, 8, 8] },
  { grid: [12, 16, 16], window: [6, 8, 8], stride: [6, 8, 8] },
];

async function chosenTiles(context: MeasureContext) {
  const settings = context.quick ? SHAPES.slice(2, 3) : SHAPES;
  const tried = settings.map((setting) => {
    const preset = GRID_TILES[setting.grid.length - 1] as TileShapes;
    // A few of the many shapes on three axes.
    const all = tileCandidates(setting.grid.length);
    const some = all.filter((_, index) => index % Math.ceil(all.length / 32) === 0);
    return [chooseTiles(setting), preset, ...some] as const;
  });
  const problems = settings.map((setting, at) => ({
    grid: setting.grid,
    ...HEADS,
    masks: tried[at]?.map((shapes) => neighborhood(setting, shapes)) ?? [],
  }));
  const byGrid = await timeOnGrids(problems, context.part(0.5, 0.75, 'shapes of tiles'));
  // Which shape is the fastest follows from the medians, how it compares from the rounds.
  const fastest = byGrid.map((rounds) => {
    const times = medians(rounds);
    return times.indexOf(Math.min(...times));
  });
  const ratioOn = (grid: number, over: number, under: number) =>
    overRounds(byGrid[grid] as Rounds, (times) => times[over]! / times[under]!).value;
  const rows = settings.map((setting, grid) => {
    const [chosen, preset] = tried[grid] as readonly [TileShapes, TileShapes, ...TileShapes[]];
    return {
      fewer: countTiles(setting, preset) / countTiles(setting, chosen),
      faster: ratioOn(grid, 1, 0),
      best: ratioOn(grid, 0, fastest[grid]!),
    };
  });
  const meanRatio = (over: (grid: number) => number, under: (grid: number) => number) =>
    overProblems(byGrid, (times) =>
      geometricMean(times.map((onGrid, grid) => onGrid[over(grid)]! / onGrid[under(grid)]!)),
    );
  const [chosen, preset] = [() => 0, () => 1];
  const faster = meanRatio(preset, chosen);
  const best = meanRatio(chosen, (grid) => fastest[grid]!);
  const worst = Math.max(...rows.map((row) => row.best));
  return {
    measured: `${formatRatio(geometricMean(rows.map(({ fewer }) => fewer)))} fewer tiles computed than with the default shapes, ${formatRatio(faster.value)} as fast; ${formatRatio(best.value)} the time of the fastest shape, at worst ${formatRatio(worst)}`,
    values: { best, faster },
    details: `Geometric means over ${settings.length} grids and windows; all 32 shapes are timed on two axes and 30 of 270 on three. ${SETUP}`,
    series: chart(
      'Chosen tiles beside the default ones, ratios',
      {
        'grid, window, stride, dilation': settings.map(({ grid, window, stride = 1, dilation = 1 }) =>
          [grid.join('x'), window.join('x'), [stride].flat().join('x'), dilation].join(' '),
        ),
      },
      {
        'fewer tiles computed': rows.map(({ fewer }) => fewer),
        faster: rows.map(({ faster }) => faster),
        'time over the fastest': rows.map(({ best }) => best),
      },
    ),
  };
}

async function accuracy(context: MeasureContext) {
  const { runtime, quick, signal } = context;
  const [side, width] = quick ? [16, 8] : [48, 16];
  const grid = [side, side];
  const strides = [1, 2, 4, 8, 16].filter((stride) => stride <= width);
  const d = 32;
  const shape = [1, side * side, 1, d];
  // Queries are their own keys, so that a token attends to those like it: to near ones most.
  using q = runtime.tensor(smoothField(grid, d, 1), shape);
  using v = runtime.tensor(smoothField(grid, d, 2), shape);
  const outOf = (mask: Mask = full()) => numbersOf(runtime, () => attention(q, q, v, { mask, scale: 1, signal }).out);
  const dense = await outOf();
  const errors: number[] = [];
  for (const stride of strides) {
    const setting = { grid, window: width, stride };
    errors.push(relativeDistance(await outOf(neighborhood(setting, chooseTiles(setting))), dense));
  }
  await context.step(1, 'errors');
  const [sliding, blocks] = [errors[0]!, errors.at(-1)!];
  const between = Math.max(...errors.slice(1, -1));
  return {
    measured: `distance to exact attention ${significant(sliding)} at stride 1, at most ${significant(between)} at strides ${strides.slice(1, -1).join(', ')}, ${significant(blocks)} for blocks`,
    values: { between: between / sliding, blocks: blocks / between },
    details: `Of smooth random fields on a grid of ${side} x ${side}, window ${width} x ${width}: the norm of the difference over that of the result. Queries are their own keys, scale 1.`,
    series: chart('Distance to exact attention by stride', { stride: strides }, { distance: errors }),
  };
}

/** In each of `d` channels a sum of a few waves of random direction and phase, at most three along the grid. */
function smoothField(grid: readonly number[], d: number, seed: number): Float32Array {
  const waves = 6;
  const numbers = uniform(d * waves * 3, seed);
  const [rows, columns] = grid as [number, number];
  const field = new Float32Array(rows * columns * d);
  for (let c = 0; c < d; c++) {
    for (let wave = 0; wave < waves; wave++) {
      const [x, y, shift] = Array.from(numbers.subarray((c * waves + wave) * 3, (c * waves + wave + 1) * 3)) as [
        number,
        number,
        number,
      ];
      for (let token = 0; token < rows * columns; token++) {
        const [row, column] = [Math.floor(token / columns) / rows, (token % columns) / columns];
        field[token * d + c]! +=
          Math.cos(2 * Math.PI * ((6 * x - 3) * row + (6 * y - 3) * column + shift)) * Math.sqrt(2 / waves);
      }
    }
  }
  return field;
}
