/** Pages agree with the library. */
import { describe, expect, test } from 'vitest';
import { area } from '../../../src/masks/area';
import { methods } from '../../../src/methods/registry';
import { type KeysOf, keysOfMask, receptiveField } from '../../../src/simulate/reach';
import { TILE } from '../constants';
import type { MethodTime } from '../method-time';
import { costInLayer, isAttention, isSpatial } from '../problem';
import { chooseFrom, type Wish } from './choose';
import { costSeries } from './cost';
import { maskInWords, maskTile, pairInWords } from './mask';
import { reachThrough } from './reach';
import { know, maskAt, type Setting, settle } from './setting';

const control = { signal: undefined, report: () => undefined };
know(methods);
const samples = new Map(
  await Promise.all(methods.map(async ({ name, page }) => [name, (await page!()).page.sample] as const)),
);
const settingOf = (name: string, { extents, ...change }: Partial<Setting> = {}): Setting => {
  const sample = samples.get(name)!;
  return { method: name, params: sample.params, ...change, extents: { ...sample.extents, ...extents } };
};
const masked = methods.filter(({ mask }) => mask).map(({ name }) => name);

describe.each(masked)('the mask of %s', (name) => {
  const spatial = name.includes('neighborhood');
  const setting = settingOf(name, { extents: { ...(spatial ? { rows: 13, columns: 23 } : { n: 300 }), h: 2 } });
  const { mask, place } = maskAt(setting, 1);

  test('is counted by the library', () => {
    const { pairs, tokens, name: words } = maskInWords({ setting, head: 1 });
    const all = [0, 1].reduce((sum, head) => sum + maskInWords({ setting, head }).pairs, 0);
    expect(all).toBe(area(mask, { ...place, b: 1 }));
    expect([tokens, words]).toEqual([place.n, mask.name]);
    let seen = 0;
    for (let i = 0; i < place.n; i++) for (let j = 0; j < place.m; j++) if (mask.sees(i, j, place)) seen++;
    expect(pairs).toBe(seen);
  });

  test.each([0, 1, 3, 6])('has tiles of cells of 2^%i tokens that tell the share seen', async (level) => {
    const pairs = 2 ** level;
    const last = Math.floor((place.n - 1) / (TILE * pairs));
    const tile = await maskTile({ setting, head: 1, level, row: last, column: last }, control);
    const first = last * TILE * pairs;
    for (let y = 0; y < TILE; y++) {
      for (let x = 0; x < TILE; x++) {
        let [seen, all] = [0, 0];
        for (let i = first + y * pairs; i < Math.min(place.n, first + (y + 1) * pairs); i++) {
          for (let j = first + x * pairs; j < Math.min(place.n, first + (x + 1) * pairs); j++) {
            all++;
            if (mask.sees(i, j, place)) seen++;
          }
        }
        const expected = seen === 0 ? 0 : Math.max(1, Math.round((255 * seen) / all));
        if (tile[y * TILE + x] !== expected) expect([y, x, tile[y * TILE + x]]).toEqual([y, x, expected]);
      }
    }
  });

  test('says of a pair whether it is seen', () => {
    for (const [i, j] of [
      [0, 0],
      [100, 3],
      [3, 100],
      [250, 249],
    ]) {
      const found = pairInWords({ setting, head: 1, i, j });
      expect(found.seen).toBe(mask.sees(i, j, place));
      expect(found.sentence).toMatch(found.seen ? /^seen/ : /^not seen/);
    }
  });

  test('reaches what the simulator says', () => {
    const query = place.n - 2;
    const { counts, layers } = reachThrough({ setting, query, layers: 4 });
    // A random order is drawn anew for each layer.
    const ofLayer = (seed: number) =>
      name === 'stochastic-attention' ? maskAt({ ...setting, params: { ...setting.params, seed } }, 1).mask : mask;
    const keysOf: KeysOf = (layer, query) => keysOfMask(ofLayer(layer), place)(0, query);
    expect(counts).toEqual(
      receptiveField(keysOf, place.n, { query, layers: 4, changes: true }).slice(0, counts.length),
    );
    expect(layers.filter((layer) => layer > 0)).toHaveLength(counts.at(-1)!);
    expect(layers.filter((layer) => layer === 1)).toHaveLength(counts[0]);
  });
});

test('what cannot be drawn or counted is a sentence', () => {
  expect(() =>
    maskInWords({ setting: settingOf('stochastic-attention', { params: { window: 4, gated: true } }), head: 0 }),
  ).toThrow('With these params stochastic-attention is no mask.');
  expect(() => maskInWords({ setting: settingOf('power-attention', { params: { block: -1 } }), head: 0 })).toThrow(
    /param block of power-attention: expected integer >= 1, got -1/,
  );
  expect(() =>
    reachThrough({ setting: settingOf('power-attention', { extents: { n: 9000 } }), query: 0, layers: 1 }),
  ).toThrow('Reach is counted up to 8,192 tokens: choose fewer than 9,000.');
});

test.each(methods.map(({ name }) => name))('costs of %s stand beside those of others, at every length', async (own) => {
  const method = methods.find(({ name }) => name === own)!;
  const beside = isAttention(method) ? ['generalized-neighborhood-attention'] : [];
  const { lengths, lines } = await costSeries({ setting: settingOf(own), beside }, control);
  const names = [...(own === 'attention' || !isAttention(method) ? [] : ['attention']), ...beside, own];
  expect(lines.map((line) => line.method)).toEqual(names);
  for (const { method: name, costs } of lines) {
    const counted = costs.flatMap((cost) => cost?.flops ?? []);
    expect(counted.length, name).toBeGreaterThan(0);
    expect(counted, name).toEqual(counted.toSorted((a, b) => a - b));
  }
  if (!isAttention(method)) return;
  const setting = settingOf(own, { extents: isSpatial(method) ? { rows: 16, columns: 32 } : { n: 512 } });
  const { params, letters } = settle(setting);
  expect(lines.at(-1)!.costs[lengths.indexOf(512)]).toEqual(costInLayer(method, letters, params));
});

describe('choosing', () => {
  const wish = { tokens: 4096, dimension: 32, causal: true, training: true, grid: false, device: 'wasm' } as const;
  const choicesFor = (change: Partial<Wish> = {}, times: readonly MethodTime[] = []) =>
    chooseFrom({ wish: { ...wish, ...change }, times }, control);
  const names = (choices: Awaited<ReturnType<typeof chooseFrom>>, refused = false) =>
    choices.filter((choice) => (choice.refused !== undefined) === refused).map(({ setting }) => setting.method);

  test('ranks by the operations that methods count, and says why others are left out', async () => {
    const choices = await choicesFor();
    expect(choices).toHaveLength(methods.filter(isAttention).length);
    const chosen = choices.filter(({ refused }) => refused === undefined);
    expect(chosen.map(({ flops }) => flops)).toEqual(chosen.map(({ flops }) => flops).toSorted((a, b) => a - b));
    for (const { setting, flops } of chosen) {
      const { method, params, letters } = settle(setting);
      expect(flops, setting.method).toBe(costInLayer(method, letters, params).flops);
      expect(method.isCausal?.(params) ?? (params as { causal?: boolean }).causal, setting.method).toBe(true);
    }
    const exact = chosen.find(({ setting }) => setting.method === 'attention')!;
    expect(exact.gain).toBeCloseTo(1);
    expect(choices.find(({ setting }) => setting.method === 'l2vit')?.refused).toBe('it has no causal form');
  });

  test('without training leaves what needs it, and what a layer must learn inputs for', async () => {
    const chosen = names(await choicesFor({ training: false }));
    expect(chosen).toContain('attention');
    for (const name of ['power-attention', 'lightning-attention', 'gated-delta-rule', 'nats-linear'])
      expect(chosen).not.toContain(name);
  });

  test('takes spatial methods for grids alone', async () => {
    expect(names(await choicesFor())).not.toContain('neighborhood-attention');
    const onGrid = names(await choicesFor({ causal: false, grid: true }));
    expect(onGrid[0] && onGrid).toContain('neighborhood-attention');
  });

  test('goes by what was measured on the device, here before elsewhere, and by operations from there on', async () => {
    const counted = await choicesFor();
    const [first] = names(counted);
    const time = (speedup: number, change: Partial<MethodTime> = {}): MethodTime => ({
      method: first,
      causal: true,
      tokens: 4096,
      dimension: 32,
      backend: 'wasm',
      time: 1,
      speedup,
      machine: 'a machine',
      ...change,
    });
    const of = (choices: typeof counted) => choices.find(({ setting }) => setting.method === first)!;
    const gain = async (tokens: number) => of(await choicesFor({ tokens })).gain;

    const measured = await choicesFor({}, [time(0.5)]);
    expect(of(measured)).toMatchObject({ speedup: 0.5, measured: { machine: 'a machine' } });
    expect(names(measured)[0]).not.toBe(first);
    expect(names(await choicesFor({ device: 'webgpu' }, [time(0.5)]))).toEqual(names(counted));
    expect(names(await choicesFor({}, [time(0.5, { causal: false })]))).toEqual(names(counted));

    const here = time(3, { machine: undefined } as object);
    expect(of(await choicesFor({}, [time(0.5), here])).speedup).toBe(3);
    const near = time(2, { tokens: 1024 });
    expect(of(await choicesFor({}, [near, time(7, { tokens: 64 })])).speedup).toBeCloseTo(
      (2 * (await gain(4096))) / (await gain(1024)),
    );
  });
});
