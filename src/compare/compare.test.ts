import * as valibot from 'valibot';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BackendError } from '../errors';
import * as masks from '../masks';
import { oneHead } from '../masks/mask';
import { defineMethod, type Method, problemOfLetters } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { parallax } from '../methods/local-linear/parallax';
import { defineMaskedMethod } from '../methods/masked';
import { neighborhoodAttention } from '../methods/sparse/neighborhood-attention';
import { stochasticAttention } from '../methods/sparse/stochastic-attention';
import { contiguous } from '../ops/copy';
import { createRuntime } from '../ops/create-runtime';
import { gather } from '../ops/gather';
import { multiply } from '../ops/map';
import type { Runtime } from '../runtime/runtime';
import { hostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { compare } from './compare';
import { type Comparison, hasError, isMeasured, type MeasuredRow, type Row } from './comparison';
import type { Qkv } from './contenders';
import { contendersAt } from './contenders';
import { decodeMap } from './maps';
import type { NextTokenLosses } from './next-token';

const QUICK = { seconds: 0 };
const EXACT = { ...QUICK, methods: [exactAttention] };
let runtime: Runtime;
beforeEach(async () => {
  runtime = await createRuntime({ backend: 'reference' });
});
afterEach(() => runtime.dispose());

interface Extents {
  b?: number;
  n: number;
  m: number;
  h: number;
  g: number;
  d: number;
  e: number;
}

function randomInputs({ b = 1, n, m, h, g, d, e }: Extents): Qkv {
  return {
    q: runtime.random([b, n, h, d], { seed: 1 }),
    k: runtime.random([b, m, g, d], { seed: 2 }),
    v: runtime.random([b, m, g, e], { seed: 3 }),
  };
}

/** Attention of one head as a whole matrix: probabilities [n][m] over the keys seen, and outputs [n][e]. */
async function bruteForce(inputs: Qkv, batch: number, head: number, sees: (i: number, j: number) => boolean) {
  const [q, k, v] = await Promise.all([inputs.q.read(), inputs.k.read(), inputs.v.read()]);
  const [, n, h, d] = inputs.q.shape as [number, number, number, number];
  const [, m, g, e] = inputs.v.shape as [number, number, number, number];
  const group = Math.floor((head * g) / h);
  const range = (length: number) => Array.from({ length }, (_, at) => at);
  const probabilities = range(n).map((i) => {
    const weights = range(m).map((j) => {
      const dot = range(d).reduce(
        (sum, c) => sum + q[((batch * n + i) * h + head) * d + c]! * k[((batch * m + j) * g + group) * d + c]!,
        0,
      );
      return sees(i, j) ? Math.exp(dot / Math.sqrt(d)) : 0;
    });
    const sum = weights.reduce((a, w) => a + w, 0);
    return weights.map((weight) => (sum === 0 ? 0 : weight / sum));
  });
  const out = probabilities.map((row) =>
    range(e).map((c) => row.reduce((sum, p, j) => sum + p * v[((batch * m + j) * g + group) * e + c]!, 0)),
  );
  return { probabilities, out };
}

/** A grid's tokens as a sequence. */
function flattened({ q, k, v }: Qkv): Qkv {
  const flat = (x: Tensor) => x.reshape([x.shape[0] as number, -1, ...x.shape.slice(-2)]);
  return { q: flat(q), k: flat(k), v: flat(v) };
}

function findRow({ rows }: Comparison, label: string): MeasuredRow {
  const row = rows.filter(isMeasured).find((candidate) => candidate.label === label);
  if (!row) throw new Error(`no row '${label}' among ${rows.map((candidate) => candidate.label)}`);
  return row;
}

describe('what a window loses', () => {
  const shapes: Record<string, Extents> = {
    'grouped heads, two batches': { b: 2, n: 21, m: 21, h: 4, g: 2, d: 5, e: 3 },
    'more keys than queries': { n: 17, m: 40, h: 2, g: 2, d: 4, e: 6 },
    'more queries than keys: some see nothing': { n: 24, m: 16, h: 2, g: 1, d: 4, e: 4 },
  };
  for (const [name, extents] of Object.entries(shapes)) {
    test(`mass and error agree with whole matrices in float64 (${name})`, async () => {
      const inputs = randomInputs(extents);
      const { b = 1, n, m, h } = extents;
      const comparison = await compare(inputs, EXACT);
      const variants = comparison.rows.filter((row) => !row.baseline);
      expect(variants.length).toBeGreaterThan(2);

      for (const row of variants) {
        const mask = exactAttention.mask?.(exactAttention.parse(row.params), problemOfLetters({ n, m }));
        for (let head = 0; head < h; head++) {
          let [kept, queries, least, difference, norm, dot, own] = [0, 0, 1, 0, 0, 0, 0];
          for (let batch = 0; batch < b; batch++) {
            const visible = (_: number, j: number, i = _) => !row.causal || j <= i + m - n;
            const exact = await bruteForce(inputs, batch, head, visible);
            const masked = await bruteForce(inputs, batch, head, (i, j) => mask!.sees(i, j, oneHead(n, m)));
            for (let i = 0; i < n; i++) {
              const seen = exact.probabilities[i]!.filter((_, j) => mask!.sees(i, j, oneHead(n, m)));
              if (exact.probabilities[i]!.some((p) => p > 0)) {
                const mass = seen.reduce((sum, p) => sum + p, 0);
                kept += mass;
                queries++;
                least = Math.min(least, mass);
              }
              exact.out[i]!.forEach((value, c) => {
                const other = masked.out[i]![c]!;
                difference += (value - other) ** 2;
                norm += value ** 2;
                own += other ** 2;
                dot += value * other;
              });
            }
          }
          expect(row.mass?.heads[head]?.mean, `${row.label} head ${head}`).toBeCloseTo(kept / queries, 5);
          expect(row.mass?.heads[head]?.min).toBeCloseTo(least, 5);
          expect(row.error?.heads[head]?.relativeL2).toBeCloseTo(Math.sqrt(difference / norm), 5);
          expect(row.error?.heads[head]?.cosine).toBeCloseTo(dot / Math.sqrt(norm * own), 5);
        }
      }
    });
  }

  test('a wider window keeps more and errs less, and the overall figures lie between those of the heads', async () => {
    const { rows } = await compare(randomInputs({ n: 64, m: 64, h: 2, g: 2, d: 8, e: 8 }), EXACT);
    const windows = rows.filter((row) => !row.causal && !row.baseline).sort((a, b) => a.visited! - b.visited!);
    for (let at = 1; at < windows.length; at++) {
      expect(windows[at]!.mass!.mean).toBeGreaterThan(windows[at - 1]!.mass!.mean);
      expect(windows[at]!.error!.relativeL2).toBeLessThan(windows[at - 1]!.error!.relativeL2);
    }
    for (const { error, mass } of windows) {
      const errors = error!.heads.map((head) => head.relativeL2);
      expect(error!.relativeL2).toBeGreaterThanOrEqual(Math.min(...errors));
      expect(error!.relativeL2).toBeLessThanOrEqual(Math.max(...errors));
      expect(mass!.mean).toBeCloseTo(mass!.heads.reduce((sum, head) => sum + head.mean / 2, 0));
    }
  });
});

test('a baseline comes before its variants, once, and differs from itself by nothing', async () => {
  const { rows } = await compare(randomInputs({ n: 20, m: 20, h: 1, g: 1, d: 4, e: 4 }), QUICK);
  expect(rows.filter((row) => row.baseline).map((row) => row.label)).toEqual(['exact full', 'exact causal']);
  for (const causal of [false, true]) {
    const [first] = rows.filter((row) => row.causal === causal);
    expect(first).toMatchObject({ baseline: true, speedup: 1, error: { relativeL2: 0, cosine: 1 } });
  }
  expect(rows[0]).toMatchObject({ visited: 1, mass: { mean: 1 }, flops: 4 * 20 * 20 * 4 });
  expect(new Set(rows.map((row) => row.label)).size).toBe(rows.length);
  for (const row of rows.filter(isMeasured)) {
    expect(row.time.min).toBeLessThanOrEqual(row.time.median);
    expect(row.time.median).toBeLessThanOrEqual(row.time.max);
    if (row.mass) expect(row.exactness).toBeLessThan(1e-6);
    expect(row.memory).toBeGreaterThanOrEqual(4 * (20 * 4 + (row.error ? 20 : 0)));
  }
});

describe('which variants are measured', () => {
  const inputs = () => randomInputs({ n: 64, m: 64, h: 2, g: 2, d: 4, e: 4 });
  const copies = (count: number, more: Partial<Method> = {}) =>
    Array.from(
      { length: count },
      (_, at) => ({ ...exactAttention, name: `copy-${more.family}-${at}`, ...more }) as Method,
    );
  const chosen = (methods: readonly Method[], choice: 'usual' | 'all' = 'usual') =>
    contendersAt({ b: 1, n: 64, m: 64, h: 2, g: 2, d: 4, e: 4 }, methods, choice);

  test('by default at most 26 beside the baselines, of every method the first while there is room', async () => {
    const some = await compare(inputs(), QUICK);
    const all = await compare(inputs(), { ...QUICK, methods: 'all' });
    const variants = ({ rows }: Comparison) => rows.filter(({ baseline }) => !baseline);
    expect(variants(some)).toHaveLength(26);
    expect(some.leftOut).toEqual({ variants: variants(all).length - 26, methods: [] });
    expect(all.leftOut).toBeUndefined();
    expect(new Set(some.rows.map(({ method }) => method))).toEqual(new Set(all.rows.map(({ method }) => method)));
    expect(all.rows.map(({ label }) => label)).toEqual(expect.arrayContaining(some.rows.map(({ label }) => label)));
    const windows = some.rows.filter(({ method, causal, baseline }) => method === 'attention' && causal && !baseline);
    expect(windows.map(({ label }) => label)).toEqual(['causal window 1', 'causal window 4', 'causal window 16']);
  });

  test('of more methods than there is room for those that serve without training come first, and the rest is named', () => {
    const untrained = copies(32, { family: 'untrained', needsTraining: true, variants: () => [{ window: [1, 1] }] });
    const ready = copies(12, { family: 'ready', leads: 1, variants: () => [{ window: [2, 2] }, { window: [3, 3] }] });
    const { contenders, leftOut } = chosen([exactAttention, ...untrained, ...ready]);
    const names = contenders.filter(({ baseline }) => !baseline).map(({ method }) => method.name);
    expect(names.filter((name) => name === 'attention')).toHaveLength(6);
    expect(names.filter((name) => name.startsWith('copy-ready'))).toEqual(ready.map(({ name }) => name));
    expect(names.filter((name) => name.startsWith('copy-untrained'))).toEqual(
      untrained.slice(0, 8).map(({ name }) => name),
    );
    expect(leftOut.methods).toEqual(untrained.slice(8).map(({ name }) => name));
    expect(leftOut.variants).toBe(24 + 12 + 4);
  });

  test('the cost is counted of those alone', () => {
    const cost = vi.fn(exactAttention.cost);
    chosen(copies(30, { family: 'counted', cost, leads: 1 }));
    expect(cost).toHaveBeenCalledTimes(26);
  });
});

test('rows are given as each is measured, complete but for their times', async () => {
  const given: Row[] = [];
  const { rows } = await compare(randomInputs({ n: 16, m: 16, h: 1, g: 1, d: 4, e: 4 }), {
    ...EXACT,
    onRow: (row) => given.push(row),
  });
  const timeless = ({ time: _, speedup: __, memory: ___, ...row }: Row) => row;
  expect(given.map(timeless)).toEqual(rows.map(timeless));
  for (const { time } of given) expect(time?.repeats).toBe(1);
});

test('values of all zeros lose nothing', async () => {
  const { q, k } = randomInputs({ n: 9, m: 9, h: 1, g: 1, d: 4, e: 4 });
  const { rows } = await compare({ q, k, v: runtime.tensor(new Float32Array(36), [1, 9, 1, 4]) }, QUICK);
  for (const { error } of rows.filter(hasError)) expect(error).toMatchObject({ relativeL2: 0, cosine: 1 });
});

describe('attention maps', () => {
  test('are the exact probabilities when nothing needs binning', async () => {
    const inputs = randomInputs({ n: 6, m: 9, h: 2, g: 1, d: 4, e: 2 });
    const { maps } = await compare(inputs, QUICK);
    expect(maps).toMatchObject({ queryBins: 6, keyBins: 9, queriesPerBin: 1, keysPerBin: 1 });
    const { probabilities } = await bruteForce(inputs, 0, 1, () => true);
    probabilities.flat().forEach((p, at) => {
      expect(decodeMap(maps.heads[1]!)[at]).toBeCloseTo(p, 3);
    });
  });

  test('have rows that sum to 1, whatever the lengths', async () => {
    const { maps } = await compare(randomInputs({ b: 2, n: 300, m: 515, h: 1, g: 1, d: 2, e: 1 }), {
      ...QUICK,
      methods: [],
    });
    expect(maps).toMatchObject({ queryBins: 150, keyBins: 172, queriesPerBin: 2, keysPerBin: 3 });
    const map = decodeMap(maps.heads[0]!);
    expect(map).toHaveLength(150 * 172);
    for (let row = 0; row < 150; row++) {
      const sum = map.subarray(row * 172, (row + 1) * 172).reduce((a, p) => a + p, 0);
      expect(sum).toBeCloseTo(1, 2);
    }
  });
});

test('survives a round trip through JSON', async () => {
  const comparison = await compare(randomInputs({ n: 12, m: 12, h: 2, g: 1, d: 4, e: 4 }), QUICK);
  expect(JSON.parse(JSON.stringify(comparison))).toEqual(comparison);
});

describe('methods', () => {
  const anything = valibot.strictObject({});
  const copy = { ...exactAttention, params: anything, parse: () => ({}) } as unknown as Method;

  test('one without a mask joins with its own name, and has no mass', async () => {
    const { mask: _, ...rest } = copy;
    const halved = defineMethod({
      ...rest,
      name: 'halved',
      params: anything,
      forward: (inputs) =>
        runtime.scope(() => {
          const { out, lse } = exactAttention.forward(inputs as unknown as Qkv, exactAttention.parse({}));
          return { out: multiply(out!, runtime.tensor([0.5], [])), lse: lse! };
        }),
      variants: () => [{}],
    });
    const comparison = await compare(randomInputs({ n: 8, m: 8, h: 2, g: 2, d: 4, e: 4 }), {
      ...QUICK,
      methods: [halved],
    });
    expect(comparison.rows.map((row) => row.label)).toEqual(['exact full', 'halved', 'exact causal']);
    const row = findRow(comparison, 'halved');
    expect(row.mass).toBeUndefined();
    expect(row.error?.relativeL2).toBeCloseTo(0.5);
    expect(row.error?.cosine).toBeCloseTo(1);
  });

  /** Attention by distance: the weights of n tokens are 1 on their own and `share` on the others. */
  const trained = (share: number, factor = 1) =>
    defineMethod({
      ...copy,
      name: 'trained',
      needsTraining: true,
      inputs: { q: 'b n h d', k: 'b n h d', v: 'b n h e' },
      outputs: { out: 'b n h e', state: 'b h d e' },
      params: anything,
      mask: () => undefined,
      reference({ v }) {
        return { out: hostTensor(Float64Array.from(v!.data as Float32Array), v!.shape, 'f64') };
      },
      forward: ({ v }) =>
        runtime.scope(() => ({
          out: multiply(contiguous(v!), runtime.tensor([factor], [])),
          state: runtime.empty([1]),
        })),
      weights({ q, k }, _, queries) {
        const [b, , h] = q!.shape as [number, number, number];
        const n = k!.shape[1]!;
        const weights = new Float32Array(b * queries.length * h * n).fill(share);
        for (let row = 0; row < b * queries.length * h; row++) weights[row * n + (row % n)] = 1;
        return runtime.tensor(weights, [b, queries.length, h, n]);
      },
      variants: () => [{}],
    });

  test('one that needs training has an entropy in the place of an error, and is never recommended', async () => {
    const inputs = randomInputs({ n: 8, m: 8, h: 2, g: 2, d: 4, e: 4 });
    const { live } = runtime.memory();
    const comparison = await compare(inputs, { ...QUICK, methods: [trained(1)] });
    const row = findRow(comparison, 'trained');
    expect(row.error).toBeUndefined();
    expect(row.mass).toBeUndefined();
    expect(row.exactness).toBeLessThan(1e-6);
    expect(row.entropy?.mean).toBeCloseTo(3);
    expect(row.entropy?.heads).toHaveLength(2);
    expect(row.memory).toBeGreaterThan(0);
    expect(comparison.recommendation.text).toContain('no other variant serves without training');
    const oneKey = await compare(inputs, { ...QUICK, methods: [trained(0)] });
    expect(findRow(oneKey, 'trained').entropy?.mean).toBe(0);
    expect(runtime.memory().live).toBe(live);
  });

  test('one whose layer projects more than q has q in its place, and is checked with it', async () => {
    const inputs = randomInputs({ n: 9, m: 9, h: 4, g: 2, d: 4, e: 3 });
    const { rows } = await compare(inputs, { ...QUICK, methods: [parallax] });
    const found = rows.filter(({ method }) => method === 'parallax');
    expect(found.map(({ causal }) => causal)).toEqual([false, true, true]);
    for (const { error, exactness, speedup } of found) {
      expect(error).toBeUndefined();
      expect(exactness).toBeLessThan(1e-5);
      expect(speedup).toBeGreaterThan(0);
    }
  });

  test('exact attention says by its entropy how it spreads, full and causal', async () => {
    const inputs = randomInputs({ b: 2, n: 9, m: 9, h: 4, g: 2, d: 4, e: 4 });
    const { rows } = await compare(inputs, { ...QUICK, methods: [] });
    for (const { causal, entropy } of rows) {
      for (let head = 0; head < 4; head++) {
        let bits = 0;
        for (const batch of [0, 1]) {
          const { probabilities } = await bruteForce(inputs, batch, head, (i, j) => !causal || j <= i);
          for (const p of probabilities.flat()) bits -= p > 0 ? (p * Math.log2(p)) / 18 : 0;
        }
        expect(entropy?.heads[head]).toBeCloseTo(bits, 5);
      }
    }
  });

  const wrong = defineMethod({
    ...copy,
    name: 'wrong',
    params: anything,
    mask: (_, problem) => exactAttention.mask!(exactAttention.parse({ window: [1, 1] }), problem),
    forward: (inputs) => exactAttention.forward(inputs as unknown as Qkv, exactAttention.parse({ window: [2, 1] })),
    variants: () => [{}],
  });
  const outOfMemory = (): never => {
    throw new BackendError('out of memory');
  };

  test('a mask that is not what `sees` says is not timed', async () => {
    const inputs = randomInputs({ n: 40, m: 40, h: 2, g: 2, d: 4, e: 4 });
    const masked = (name: string, ahead: number, sees: (i: number, j: number) => boolean) =>
      defineMaskedMethod({
        name,
        family: 'sparse',
        summary: 'keys nearby',
        paper: '2409.10516',
        params: valibot.strictObject({}),
        mask: () => masks.from((_b, _h, q, k, { ahead }) => k <= q + ahead && q - k < 8, { ahead }),
        sees: () => sees,
        variants: () => [{}],
      });
    const window = (i: number, j: number) => j <= i && i - j < 8;
    const methods = [masked('right', 0, window), masked('ahead', 3, window), masked('other', 0, (_, j) => j === 0)];
    const { rows } = await compare(inputs, { ...QUICK, methods: methods as unknown as Method[] });
    expect(rows.map((row) => row.failed?.replace(/ by .*/, '') ?? row.method)).toEqual([
      'attention',
      'ahead differs from the float64 reference',
      'attention',
      'right',
      'other differs from the float64 reference',
    ]);
  });

  test('one that fails costs its own row, which says why, and is not recommended', async () => {
    const inputs = randomInputs({ n: 8, m: 8, h: 2, g: 2, d: 4, e: 4 });
    const { live } = runtime.memory();
    let calls = 0;
    const given: Row[] = [];
    const failing: Record<string, Method> = {
      wrong,
      trained: trained(1, 1.01),
      thrown: { ...wrong, name: 'thrown', forward: outOfMemory },
      costly: { ...wrong, name: 'costly', cost: outOfMemory },
      various: { ...wrong, name: 'various', variants: outOfMemory },
      // Once it was checked.
      later: {
        ...exactAttention,
        name: 'later',
        variants: () => [{ window: [1, 1] }],
        forward: (inputs: Qkv, params: never) =>
          calls++ > 1 ? outOfMemory() : exactAttention.forward(inputs as never, params),
      } as unknown as Method,
      // A fault of its result, and of others that are read by none.
      faulty: {
        ...wrong,
        name: 'faulty',
        forward: ({ q }) => {
          const indices = [1, 2].map(() => runtime.tensor(new Int32Array([999]), [1]));
          const [out, other] = indices.map((index) => gather(q!.reshape([-1, 4]), index));
          for (const tensor of [other!, ...indices]) tensor.dispose();
          return { out: out!, lse: runtime.empty([1]) };
        },
      },
    };
    const whole = await compare(inputs, { ...QUICK, methods: [exactAttention] });
    const comparison = await compare(inputs, {
      ...QUICK,
      methods: [exactAttention, ...Object.values(failing)],
      onRow: (row) => given.push(row),
    });
    const found = comparison.rows.flatMap(({ label, failed }) => (failed === undefined ? [] : [[label, failed]]));
    expect(Object.fromEntries(found)).toEqual({
      wrong: expect.stringMatching(/^wrong differs from the float64 reference by .*: its speed is not reported$/),
      trained: expect.stringMatching(/^trained differs from .* of the largest result.*: its speed is not reported$/),
      thrown: 'out of memory',
      costly: 'out of memory',
      various: 'out of memory',
      'later window 1x1': 'out of memory',
      faulty: expect.stringContaining('999'),
    });
    const labels = ({ rows }: Comparison) => rows.filter(isMeasured).map(({ label, error }) => [label, error]);
    expect(labels(comparison)).toEqual(labels(whole));
    expect(given.map(({ label }) => label)).toEqual(comparison.rows.map(({ label }) => label));
    expect(Object.keys(failing)).not.toContain(comparison.recommendation.full);
    expect(JSON.parse(JSON.stringify(comparison))).toEqual(comparison);
    await runtime.finish();
    expect(runtime.memory().live).toBe(live);
  });

  test('where exact attention fails, others have a time, and no speed-up or error', async () => {
    const inputs = randomInputs({ n: 8, m: 8, h: 2, g: 2, d: 4, e: 4 });
    // Exact attention alone asks for no window.
    const forward = vi.spyOn(exactAttention, 'forward').mockImplementationOnce(outOfMemory);
    const { rows, recommendation } = await compare(inputs, EXACT);
    forward.mockRestore();
    expect(rows[0]).toMatchObject({ label: 'exact full', failed: 'out of memory' });
    for (const row of rows.slice(1)) {
      expect(row.time?.median).toBeGreaterThan(0);
      expect([row.speedup, row.error].map((value) => value !== undefined)).toEqual([row.causal, row.causal]);
    }
    expect(recommendation.text).toContain('For full attention, nothing is recommended');
  });
});

test('in a model, each layer has a random order of its own', async () => {
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, 16, 1, 4], { seed })) as [Tensor, Tensor, Tensor];
  const found: number[][] = [];
  const losses: NextTokenLosses = async (attend) => {
    for (const layer of [0, 1, 1]) if (attend) found.push([...(await attend({ q, k, v }, layer).read())]);
    return { layer: 1, all: 1 };
  };
  await compare({ q, k, v }, { ...QUICK, methods: [stochasticAttention], losses });
  const [first, second, again] = found.slice(-3);
  expect(second).not.toEqual(first);
  expect(second).toEqual(again);
});

describe('on a grid', () => {
  const extents = [1, 5, 6, 2] as const;
  const onGrid = (): Qkv => ({
    q: runtime.random([...extents, 4], { seed: 1 }),
    k: runtime.random([...extents, 4], { seed: 2 }),
    v: runtime.random([...extents, 3], { seed: 3 }),
  });

  test('methods with spatial axes join, beside sequences of the same tokens', async () => {
    const { live } = runtime.memory();
    const inputs = onGrid();
    const comparison = await compare(inputs, {
      ...QUICK,
      methods: [exactAttention, neighborhoodAttention, stochasticAttention],
    });
    expect(comparison).toMatchObject({ extents: { b: 1, n: 30, m: 30, h: 2, g: 2, d: 4, e: 3 }, grid: [5, 6] });
    expect(comparison.rows.map(({ method }) => method)).toContain('neighborhood-attention');
    expect(comparison.rows.every(({ causal }) => !causal)).toBe(true);
    expect(comparison.recommendation.text).not.toContain('causal');

    const flat = flattened(inputs);
    const exact = await bruteForce(flat, 0, 1, () => true);
    for (const row of comparison.rows.filter(({ method }) => method === 'neighborhood-attention')) {
      const mask = neighborhoodAttention.mask(neighborhoodAttention.parse(row.params as never), {
        ...oneHead(30, 30),
        grid: [5, 6],
        given: {},
      });
      const masses = exact.probabilities.map((probabilities, i) =>
        probabilities.reduce((sum, p, j) => sum + (mask.sees(i, j, oneHead(30, 30)) ? p : 0), 0),
      );
      expect(row.mass?.heads[1]?.mean).toBeCloseTo(masses.reduce((a, b) => a + b) / 30, 5);
    }
    const { glances } = comparison;
    expect(glances?.tokens).toEqual([1, 3, 5, 13, 15, 17, 25, 27, 29]);
    exact.probabilities[15]?.forEach((p, j) => {
      expect(decodeMap(glances!.heads[1]!)[4 * 30 + j]).toBeCloseTo(p, 3);
    });
    for (const tensor of [...Object.values(inputs), ...Object.values(flat)]) tensor.dispose();
    expect(runtime.memory().live).toBe(live);
  });

  test('labels say what differs, and all differ', async () => {
    const { rows } = await compare(onGrid(), QUICK);
    expect(new Set(rows.map(({ label }) => label)).size).toBe(rows.length);
    expect(rows.filter(({ label }) => /^NA window \dx\d$/.test(label))).not.toEqual([]);
  });
});

describe('bad input', () => {
  const extents = { n: 4, m: 4, h: 2, g: 2, d: 4, e: 4 };

  test('a value that is not finite is named', async () => {
    const { q, k } = randomInputs(extents);
    const v = runtime.tensor(
      Float32Array.from({ length: 32 }, (_, at) => (at === 7 ? Number.NaN : 0)),
      [1, 4, 2, 4],
    );
    await expect(async () => compare({ q, k, v }, QUICK)).rejects.toThrow('v must hold finite numbers, got NaN');
  });

  test('shapes that do not fit are named', async () => {
    const { q, k } = randomInputs(extents);
    await expect(async () => compare({ q, k, v: q.slice(1, 0, 3) }, QUICK)).rejects.toThrow(
      'v must have shape [b, m, g, e]',
    );
  });

  test.each([
    [{ speed: 1 }, "compare has no option 'speed'"],
    [{ maxError: Number.NaN }, 'maxError must be a number above 0, got NaN'],
    [{ seconds: -1 }, 'seconds must be a number of at least 0, got -1'],
    [{ onRow: 5 }, 'onRow must be a function'],
    [{ methods: 'every' }, "methods must be a list of methods or 'all', got 'every'"],
    [
      { methods: [{ ...exactAttention, name: 'gated', inputs: { q: '', k: '', v: '', gate: '' } }] },
      'gated cannot be compared: beside q, k and v it takes gate, which only a model has',
    ],
  ])('the option %j is refused by name', async (options, message) => {
    await expect(async () => compare(randomInputs(extents), options as object)).rejects.toThrow(message);
  });
});

test('a cancelled comparison frees what it made', async () => {
  const inputs = randomInputs({ n: 50, m: 50, h: 2, g: 2, d: 4, e: 4 });
  const { live } = runtime.memory();
  const controller = new AbortController();
  const onProgress = (share: number) => share > 0.4 && controller.abort();
  await expect(async () => compare(inputs, { seconds: 1, signal: controller.signal, onProgress })).rejects.toThrow(
    'abort',
  );
  expect(runtime.memory().live).toBe(live);
});

test('what onProgress throws ends the comparison, which leaves nothing behind', async () => {
  const inputs = randomInputs({ n: 8, m: 8, h: 1, g: 1, d: 2, e: 2 });
  const { live } = runtime.memory();
  for (const from of [0, 0.4, 0.95]) {
    const onProgress = (share: number) => {
      if (share > from) throw new RangeError('deaf');
    };
    for (const each of [onProgress, async (share: number) => onProgress(share)]) {
      await expect(async () => compare(inputs, { ...QUICK, onProgress: each })).rejects.toThrow('deaf');
      expect(runtime.memory().live).toBe(live);
      await runtime.finish();
    }
  }
  const onRow = async () => {
    throw new RangeError('deaf');
  };
  await expect(compare(inputs, { ...QUICK, onRow })).rejects.toThrow('deaf');
});

test('progress goes from nothing to everything', async () => {
  const shares: number[] = [];
  const onProgress = (share: number) => shares.push(share);
  await compare(randomInputs({ n: 8, m: 8, h: 1, g: 1, d: 2, e: 2 }), { ...QUICK, onProgress });
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  expect(shares.at(-1)).toBe(1);
});
