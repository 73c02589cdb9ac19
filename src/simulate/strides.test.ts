import { expect, test } from 'vitest';
import { simulateGna } from './gna';
import { publishedRows } from './published';
import { sweepStrides } from './strides';
import { tilesOfMenu } from './tile-menus';

const strides = (swept: ReturnType<typeof sweepStrides>) => swept.map(({ stride }) => stride.join('x'));

test('of all strides, those that beat every smaller one', () => {
  const setting = { grid: [13, 10], window: [6, 7], dilation: [2, 1], causal: [false, true] };
  const tiles = { queryTile: [2, 3], keyTile: [2, 2] };
  const all = Array.from({ length: 6 * 7 }, (_, at) => [1 + Math.floor(at / 7), 1 + (at % 7)]).map((stride) => ({
    stride: stride as [number, number],
    visited: simulateGna({ ...setting, stride }, tiles).visited,
  }));
  const expected = all.filter((one) =>
    all.every(
      (other) =>
        other === one ||
        other.stride[0] > one.stride[0] ||
        other.stride[1] > one.stride[1] ||
        other.visited > one.visited,
    ),
  );
  expect(expected.length).toBeGreaterThan(1);
  expect(new Set(strides(sweepStrides(setting, tiles)))).toEqual(
    new Set(expected.map(({ stride }) => stride.join('x'))),
  );
});

test('the fastest comes first', () => {
  const visited = sweepStrides(
    { grid: [30, 48, 80], window: [18, 24, 24] },
    { queryTile: [4, 8, 8], keyTile: [2, 8, 8] },
  );
  expect(strides(visited)[0]).toBe('16x8x8');
  expect(visited[0]).toMatchObject({ visited: 81, total: 900, perfectlyBlockSparse: true });
  const counts = visited.map((each) => each.visited);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
});

const chosen = publishedRows
  .filter(({ window, stride }) => window.some((extent, at) => extent !== stride[at]))
  .map((row) => [row.model, row.window.join('x'), row.stride.join('x'), row] as const);
const isBeaten = (stride: string) => stride === '1x32x8';

test.each(chosen.filter(([, , stride]) => !isBeaten(stride)))(
  'the choice of the paper is found: %s, window %s, stride %s',
  (_model, _window, stride, row) => {
    expect(strides(sweepStrides(row, row))).toContain(stride);
  },
);

test('the choice of the paper but one: 1x8x8 is as fast as 1x32x8', () => {
  const [, , , row] = chosen.find(([, , stride]) => isBeaten(stride)) as (typeof chosen)[number];
  const [best] = sweepStrides(row, row);
  expect(best).toMatchObject({ stride: [1, 8, 8], visited: 375, perfectlyBlockSparse: true });
  expect(simulateGna(row, row)).toMatchObject({ visited: 375, meanVisited: best?.meanVisited });
});

test('256 on one axis of 32768 with a window of 2048', () => {
  const swept = sweepStrides({ grid: [32_768], window: 2048 }, { queryTile: [128], keyTile: [128] });
  expect(strides(swept)).toEqual(['256', '1']);
});

test('of several tiles each stride has its best, and none is beaten by a smaller one of other tiles', () => {
  const setting = { grid: [30, 48, 80], window: [18, 24, 24] };
  const menu = tilesOfMenu('blackwell', 3);
  const swept = sweepStrides(setting, ...menu);
  expect(new Set(strides(swept)).size).toBe(swept.length);
  for (const one of swept) {
    const others = menu.map((tiles) => simulateGna({ ...setting, stride: one.stride }, tiles).computedPairs);
    expect(one.computedPairs).toBe(Math.min(...others));
    for (const other of swept) {
      if (other !== one && other.stride.every((stride, at) => stride <= one.stride[at]!)) {
        expect(other.computedPairs).toBeGreaterThan(one.computedPairs);
      }
    }
  }
});

test('tiles of a flattened grid are refused', () => {
  expect(() => sweepStrides({ grid: [16, 16], window: 8 }, { queryTile: [8], keyTile: [8] })).toThrow(
    'tiles must have an extent for each of 2 axes to sweep strides, got 8',
  );
});
