import { expect, test } from 'vitest';
import { area } from '../../masks/area';
import { GRID_TILES } from '../../masks/neighborhood';
import { blockMap } from '../../ops/attention/block-map/cpu';
import { createRuntime } from '../../ops/create-runtime';
import { simulateGna } from '../../simulate/gna';
import { type PublishedRow, publishedRows } from '../../simulate/published';
import { checkBlockMap } from '../map-building';
import type { BenchOptions } from '../options';
import { MASKS } from '../problem';
import type { BenchRow } from '../report';
import { runSuite } from '../run';
import { Runtimes } from '../runtimes';
import { DEFAULT_OPTIONS } from '../suite';
import { formatReport } from '../table';
import { sparseSuite } from './sparse';
import { BLOCK_SPARSE, gridMasks, PUBLISHED_SPARSE, sequenceMasks } from './sparse-masks';

const TINY: BenchOptions = {
  ...DEFAULT_OPTIONS,
  n: [48],
  d: [4],
  masks: ['causal'],
  heads: 1,
  backend: 'wasm',
  threads: 1,
  simd: undefined,
  repeats: 2,
  limit: 30,
  calls: 1,
  peers: false,
  browser: false,
  only: [],
  inProcess: true,
};

const onReference = () => ({
  runtimes: new Runtimes(() => createRuntime({ backend: 'reference' })),
  patience: { limit: 30_000, warmUp: 1, sample: 1 },
});

const sparse = (only: string[], more = {}) => runSuite(sparseSuite, { ...TINY, only }, { ...onReference(), ...more });

test('a mask is measured beside dense attention, and its goal follows from the tiles that it visits', async () => {
  const { rows, measures } = await sparse(['causal', 'window']);
  expect(rows.map(({ name, mask }) => `${name} ${mask}`)).toEqual(['dense full', 'causal causal', 'window window']);
  const [dense, causal] = rows as [BenchRow, BenchRow];
  expect(dense.measures).toMatchObject({ visited: 1, ratio: 1, efficiency: 1 });
  expect(dense.goal).toBeUndefined();
  // Of the two tiles of 24 queries the first sees 4 of 8 panels.
  expect(causal.measures.visited).toBe(12 / 16);
  expect(causal.goal).toEqual({ measure: 'ratio', atMost: 1.15 * 0.75 + 0.01 });
  // The reference backend has no peak.
  expect(measures).not.toContain('peakShare');
  expect(measures.filter((measure) => causal.measures[measure] === undefined)).toEqual([]);
  expect(causal.command).toBe('saccade bench sparse --n 48 --heads 1 --threads 1 --repeats 2 --only causal');
});

test('every mask of sequences gives right results, at lengths that divide nothing too', async () => {
  const names = sequenceMasks(50).flatMap((masks) => masks.map(({ mask }) => mask.name));
  const { rows } = await runSuite(sparseSuite, { ...TINY, n: [50], heads: 2, repeats: 1, only: names }, onReference());
  expect(rows.map(({ name }) => name).filter((name) => name !== 'dense')).toEqual(names);
  for (const { status, measures } of rows) {
    expect(status).toBe('ok');
    expect(measures.error).toBeLessThan(1e-6);
  }
});

test('a selection is measured beside the same blocks as a mask, forward and backward', async () => {
  const only = ['selection', 'selection-backward'];
  const { rows } = await runSuite(sparseSuite, { ...TINY, n: [200], heads: 2, only }, onReference());
  expect(rows.map(({ name, status }) => `${name} ${status}`)).toEqual([
    ...['blocks ok', 'selection ok', 'blocks-backward ok', 'selection-backward ok'],
  ]);
  for (const { name, goal, measures } of rows) {
    expect(goal).toEqual(only.includes(name) ? { measure: 'ratio', atMost: 1.05 } : undefined);
    expect(measures.error).toBeLessThan(1e-6);
  }
});

test('heads may share keys and values', async () => {
  const { rows } = await sparse(['s2-grouped']);
  expect(rows.map(({ name, n, h, g }) => [name, n, h, g])).toEqual([
    ['dense', 24, 4, 1],
    ['s2-grouped', 24, 4, 1],
  ]);
  expect(rows[1]?.command).toContain('--n 48 ');
});

test('masks of grids that promise all that FLOPs do compute nothing in vain', () => {
  for (const params of BLOCK_SPARSE) {
    const tiles = GRID_TILES[params.grid.length - 1]!;
    const { perfectlyBlockSparse } = simulateGna(params, { queryTile: tiles.queries, keyTile: tiles.keys });
    expect(perfectlyBlockSparse).toBe(true);
  }
  const own = gridMasks().find(({ n }) => n === 96 * 96);
  expect(own?.masks).toHaveLength(BLOCK_SPARSE.length);
  for (const { mask, goal } of own?.masks ?? []) {
    const extent = { b: 1, n: 96 * 96, m: 96 * 96, h: 1, g: 1 };
    expect(goal).toEqual({ measure: 'efficiency', atLeast: 0.9 });
    expect(area(mask, extent)).toBe(blockMap(mask, extent).visited * 24 * 6);
  }
});

test('published settings are those of the paper, and perfectly block-sparse with its tiles', () => {
  for (const { model, grid, settings } of PUBLISHED_SPARSE) {
    const measured = gridMasks().find(({ masks }) => masks.some(({ mask }) => mask.name === settings[0].name));
    expect(measured).toMatchObject({ n: grid.reduce<number>((tokens, length) => tokens * length, 1), part: 1 / 8 });
    for (const { window, stride } of settings) {
      const row = publishedRows.find(
        (each) => each.model === model && `${each.window} ${each.stride}` === `${window} ${stride}`,
      ) as PublishedRow;
      expect(row.grid).toEqual(grid);
      expect(simulateGna({ grid, window, stride }, row)).toMatchObject({ perfectlyBlockSparse: true });
    }
  }
});

test('the tile map of a long causal window is built afresh each time, and checked', async () => {
  const { rows } = await sparse(['map']);
  expect(rows).toMatchObject([
    { name: 'map', n: 48 * 16, mask: 'window', status: 'ok', goal: { measure: 'time', atMost: 5 } },
  ]);
  const { time, memory, visited, rate } = rows[0]?.measures ?? {};
  expect(time).toBeGreaterThan(0);
  expect(memory).toBeLessThan((48 * 16) ** 2 / 8);
  expect(visited).toBeLessThan(0.5);
  expect(rate).toBeUndefined();
});

test('so are those of functions', async () => {
  const { rows } = await sparse(['map-documents', 'map-function'], {});
  expect(rows).toMatchObject([
    { name: 'map-documents', n: 48 * 32, mask: 'documents', status: 'ok', measures: { visited: 1 / 64 } },
    { name: 'map-function', n: 48, mask: 'function', status: 'ok', goal: { measure: 'time', atMost: 850 } },
  ]);
});

test('a tile map that is wrong about a pair, or of another mask, is refused', () => {
  const extent = { b: 1, n: 500, m: 500, h: 1, g: 1 };
  const map = blockMap(MASKS.window, extent);
  expect(() => checkBlockMap(map, MASKS.window, extent)).not.toThrow();
  expect(() => checkBlockMap(map, MASKS.causal, extent)).toThrow('its map is wrong about query');
  const runs = map.runs.slice();
  runs[map.runs.length - 2]!--;
  expect(() => checkBlockMap({ ...map, runs }, MASKS.window, extent)).toThrow('query 499 and key 498');
});

test('beside a system that fails masks have no ratio and do not reach their goal', async () => {
  const peers = '/nowhere';
  const report = await sparse(['onnxruntime-node', 's2-beside-onnxruntime-node'], { peers });
  const [native, s2, ...others] = report.rows;
  expect(others).toEqual([]);
  expect(native).toMatchObject({ name: 'onnxruntime-node', n: 96, mask: 'causal', status: 'failed' });
  expect(s2).toMatchObject({ mask: 's2', status: 'ok', goal: { measure: 'ratio', atMost: 0.2 } });
  expect(s2?.measures.ratio).toBeUndefined();
  expect(s2?.command).toContain('--peers --only s2-beside-onnxruntime-node');
  expect(formatReport(report)).toContain('✗ ≤ 0.200×');
});

test('the suite refuses a name that it does not have', async () => {
  await expect(async () => sparse(['bigbird'])).rejects.toThrow(
    /--only of bench sparse must be among dense, .*, got 'bigbird'/,
  );
});
