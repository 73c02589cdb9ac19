/** Weights that pages draw are those by which the reference sums values. */
import { describe, expect, test } from 'vitest';
import { lettersOf } from '../../../src/methods/page';
import { methods } from '../../../src/methods/registry';
import { createRuntime } from '../../../src/ops/create-runtime';
import { type HostTensor, toFloat64 } from '../../../src/tensor/host';
import { TILE } from '../constants';
import { isAttention, isSpatial, tokensIn } from '../problem';
import { inputsOf } from './inputs';
import { know, maskAt, type Setting, settle } from './setting';
import { weightInWords, weightsInWords, weightsOfQuery, weightsTile, weightsWithin } from './weights';

const control = { signal: undefined, report: () => undefined };
const head = 1;
know(methods);

function settingOf(name: string, { extents, ...change }: Partial<Setting> = {}): Setting {
  const method = methods.find((each) => each.name === name)!;
  const grid = isSpatial(method) ? { rows: 17, columns: 19 } : { n: 300 };
  const all = { ...grid, h: 2, d: 16, ...extents };
  return { method: name, params: method.variants(lettersOf(all))[0] ?? {}, ...change, extents: all };
}

async function referenceOf(setting: Setting, output: string, names: (name: string) => boolean) {
  const { method, params } = settle(setting);
  using runtime = await createRuntime({ backend: 'wasm' });
  const inputs = Object.entries(await inputsOf(runtime, setting)).filter(([name]) => names(name));
  const host = Object.fromEntries(
    await Promise.all(inputs.map(async ([name, tensor]) => [name, await tensor.toHost()] as const)),
  ) as Record<string, HostTensor>;
  return { v: host.v, out: method.reference(host as never, params)[output] };
}

describe.each(methods.filter(isAttention).map(({ name }) => name))('of %s', (name) => {
  const setting = settingOf(name);
  const tokens = tokensIn(setting.extents);

  test('sum values to what the reference gives', async () => {
    const { output, scaled } = await weightsInWords({ setting, head }, control);
    const { method } = settle(setting);
    const isNeeded = (input: string) => output === 'out' || input in method.inputs;
    const { v, out } = await referenceOf(setting, output, isNeeded);
    const [e, values] = [v.shape.at(-1)!, toFloat64(v)];
    const largest = out.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (const query of [0, Math.floor(tokens / 2), tokens - 1]) {
      const weights = await weightsOfQuery({ setting, head, query });
      const at = (token: number) => (token * setting.extents.h + head) * e;
      const sums = Array.from({ length: e }, (_, c) =>
        weights.reduce((sum, weight, token) => sum + weight * values[at(token) + c], 0),
      );
      const wanted = out.data.slice(at(query), at(query) + e);
      const factor = scaled ? Math.hypot(...wanted) / Math.hypot(...sums) : 1;
      for (const [c, sum] of sums.entries()) expect(Math.abs(factor * sum - wanted[c])).toBeLessThan(1e-4 * largest);
    }
  });
});

test('of masks are 0 where nothing is seen, and 1 in all', async () => {
  const setting = settingOf('power-attention', { extents: { n: TILE } });
  const { mask, place } = maskAt(setting, head);
  const tile = await weightsTile({ setting, head, level: 0, row: 0, column: 0, relative: false });
  for (let i = 0; i < place.n; i++) {
    const row = tile.slice(i * TILE, i * TILE + place.n);
    expect([...row].map((weight) => weight > 0)).toEqual([...row].map((_, j) => mask.sees(i, j, place)));
    expect(row.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
  }
});

test('of cells are the largest of their pairs, with its sign, or its share of the largest of its query', async () => {
  const setting = settingOf('gated-delta-rule');
  const { negative } = await weightsInWords({ setting, head }, control);
  expect(negative).toBe(true);
  const rows = await Promise.all(Array.from({ length: 300 }, (_, query) => weightsOfQuery({ setting, head, query })));
  for (const relative of [false, true]) {
    const tile = await weightsTile({ setting, head, level: 2, row: 0, column: 0, relative });
    for (const [y, x] of [
      [0, 0],
      [3, 1],
      [74, 63],
    ]) {
      const pairs = [0, 1, 2, 3].flatMap((r) => {
        const row = rows[4 * y + r] ?? [];
        const unit = relative ? Math.max(...row.map(Math.abs)) : 1;
        return [...row.slice(4 * x, 4 * x + 4)].map((weight) => weight / unit);
      });
      const largest = pairs.reduce((best, each) => (Math.abs(each) > Math.abs(best) ? each : best), 0);
      expect(tile[y * TILE + x]).toBeCloseTo(largest, 6);
    }
  }
});

test('lie near a query or not: the shares within distances, whatever their sign', async () => {
  const setting = settingOf('gated-delta-rule', { extents: { n: 40 } });
  const { shares, alike } = await weightsWithin({ setting, head });
  const rows = await Promise.all(Array.from({ length: 40 }, (_, query) => weightsOfQuery({ setting, head, query })));
  const sum = (values: ArrayLike<number>) => Array.from(values, Math.abs).reduce((total, each) => total + each, 0);
  for (const tokens of [1, 7, 40]) {
    const near = rows.map((row, i) => sum(row.slice(Math.max(0, i - tokens + 1), i + tokens)) / sum(row));
    expect(shares[tokens - 1]).toBeCloseTo(sum(near) / 40, 6);
    const even = rows.map((_, i) => Math.min(tokens, i + 1) / (i + 1));
    expect(alike[tokens - 1]).toBeCloseTo(sum(even) / 40, 6);
  }
});

test('are told in words, and what cannot be computed is a sentence', async () => {
  const setting = settingOf('attention', { params: { causal: true } });
  expect(await weightInWords({ setting, head, i: 0, j: 0 })).toMatch(
    /^its own place: weight 1\.0+, number 1 of this query’s, of which the largest is 1\.0+, on key 0$/,
  );
  expect(await weightInWords({ setting, head, i: 3, j: 9 })).toBe('6 after it: weight 0');
  await expect(
    weightsInWords({ setting: settingOf('attention', { extents: { n: 4096 } }), head }, control),
  ).rejects.toThrow('Weights are computed of up to 2,048 tokens: choose fewer than 4,096.');
  await expect(
    weightsInWords({ setting: settingOf('attention', { extents: { n: 2048, h: 16 } }), head }, control),
  ).rejects.toThrow(/The weights would take 256 MiB, more than 128 MiB/);
});
