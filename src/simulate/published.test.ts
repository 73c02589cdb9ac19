import { describe, expect, test } from 'vitest';
import { endToEndSpeedup, simulateGna } from './gna';
import { besidePublished, findPublished, type PublishedRow, publishedRows } from './published';

/** Model, window and stride to what was worked out by hand: tiles along each axis, visited. */
const TILES: readonly [model: string, window: string, stride: string, tilesPerAxis: number[], visited: number][] = [
  ['HunyuanVideo', '30x40x40', '1x1x1', [15, 6, 7], 630],
  ['HunyuanVideo', '30x40x40', '1x1x8', [15, 6, 5], 450],
  ['HunyuanVideo', '30x40x40', '1x32x8', [15, 5, 5], 375],
  ['HunyuanVideo', '30x40x40', '30x40x40', [15, 5, 5], 375],
  ['HunyuanVideo', '18x24x24', '1x1x1', [11, 5, 5], 275],
  ['HunyuanVideo', '18x24x24', '2x1x1', [10, 5, 5], 250],
  ['HunyuanVideo', '18x24x24', '1x1x8', [11, 5, 3], 165],
  ['HunyuanVideo', '18x24x24', '2x1x8', [10, 5, 3], 150],
  ['HunyuanVideo', '18x24x24', '1x8x8', [11, 3, 3], 99],
  ['HunyuanVideo', '18x24x24', '2x8x8', [10, 3, 3], 90],
  ['HunyuanVideo', '18x24x24', '16x8x8', [9, 3, 3], 81],
  ['HunyuanVideo', '18x24x24', '18x24x24', [15, 3, 3], 135],
  ['FLUX.1-dev 4K', '80x80', '1x1', [7, 12], 84],
  ['FLUX.1-dev 4K', '80x80', '16x1', [5, 12], 60],
  ['FLUX.1-dev 4K', '80x80', '16x16', [5, 10], 50],
  ['Cosmos-7B', '16x32x48', '1x1x1', [4, 9, 7], 252],
  ['Cosmos-7B', '16x32x48', '1x8x1', [4, 8, 7], 224],
  ['Cosmos-7B', '16x32x48', '1x1x16', [4, 9, 6], 216],
  ['Cosmos-7B', '16x32x48', '1x8x16', [4, 8, 6], 192],
  ['Cosmos-7B', '16x24x16', '1x1x1', [4, 7, 3], 84],
  ['Cosmos-7B', '16x24x16', '1x8x1', [4, 6, 3], 72],
  ['Cosmos-7B', '16x24x16', '1x1x16', [4, 7, 2], 56],
  ['Cosmos-7B', '16x24x16', '1x8x16', [4, 6, 2], 48],
];

const TOTAL: Record<string, number> = { HunyuanVideo: 900, 'FLUX.1-dev 4K': 512, 'Cosmos-7B': 440 };

/** The paper rounds the operator's speed-up to one decimal before it goes on. */
const TOLERANCE = 0.016;

const nameOf = ({ model, window, stride }: PublishedRow) => `${model} ${window.join('x')} ${stride.join('x')}`;

test('every row is here', () => {
  expect(publishedRows.map(nameOf)).toEqual(TILES.map((row) => row.slice(0, 3).join(' ')));
  expect(publishedRows.filter((row) => row.notReproduced).map(nameOf)).toEqual(['HunyuanVideo 30x40x40 30x40x40']);
});

test.each(TILES)('%s, window %s, stride %s visits %j tiles, %i in all', (...given) => {
  const [model, , , tilesPerAxis, visited] = given;
  const row = publishedRows.find((each) => nameOf(each) === given.slice(0, 3).join(' ')) as PublishedRow;
  const simulation = simulateGna(row, row);
  expect(simulation).toMatchObject({ tilesPerAxis, visited, total: TOTAL[model] });
  expect(findPublished(simulation)).toBe(row);
});

describe('end to end', () => {
  const reproduced = publishedRows.filter((row) => !row.notReproduced);

  test.each(reproduced.map((row) => [nameOf(row), row] as const))('%s', (_, row) => {
    const { computed } = besidePublished(row);
    expect(Math.abs(computed.allSteps - row.allSteps.simulated)).toBeLessThanOrEqual(TOLERANCE);
    if (!row.someSteps) return;
    expect(Math.abs((computed.someSteps as number) - row.someSteps.simulated)).toBeLessThanOrEqual(TOLERANCE);
  });

  test('the row that is not reproduced follows from 450 tiles, not from the 375 of the rule as published', () => {
    const row = publishedRows.find((each) => each.notReproduced) as PublishedRow;
    expect(endToEndSpeedup(900 / 450, row.attentionShare)).toBeCloseTo(row.allSteps.simulated, 2);
    expect(endToEndSpeedup(900 / 375, row.attentionShare)).toBeGreaterThan(row.allSteps.simulated + 0.1);
  });

  test.each([
    ['30x40x40', 1.55],
    ['18x24x24', 2.23],
  ])('the bound of multiplications of HunyuanVideo, window %s', (window, speedup) => {
    const row = reproduced.find((each) => each.window.join('x') === window) as PublishedRow;
    expect(endToEndSpeedup(simulateGna(row, row).flopSpeedup, row.attentionShare)).toBeCloseTo(speedup, 2);
  });
});

test('a row is found by its whole setting only', () => {
  const row = publishedRows[0] as PublishedRow;
  for (const other of [{ causal: true }, { window: [30, 40, 38] }, { stride: [1, 1, 2] }]) {
    expect(findPublished(simulateGna({ ...row, ...other }, row))).toBeUndefined();
  }
  expect(findPublished(simulateGna(row, { ...row, tiling: 'dynamic' }))).toBeUndefined();
  expect(findPublished(simulateGna(row, { ...row, queryTile: [8, 4, 8] }))).toBeUndefined();
});
