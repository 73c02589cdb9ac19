/** What the shared tests of caches do not reach: pages in many slabs, out of order, of a device that has no more than every one. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { expectClose } from '../../../../../test/expect';
import { callersDevice } from '../../../../../test/gpu-device';
import {
  attention,
  createKeyValueCache,
  createRuntime,
  type AttentionOptions as Options,
  type Runtime,
} from '../../../..';
import type { KeyValueCache } from '../../../../cache';
import * as masks from '../../../../masks';
import * as scores from '../../../../scores';

const [HEADS, SHARED, D, E] = [2, 3, 7, 5];
/** Errors allowed for scores in the hundreds. */
const TOLERANCE = 1e-3;

type Token = Record<'k' | 'v', number[]>;

describe.runIf(inject('hasGpu'))('WebGPU attention to a cache in many slabs', () => {
  let [runtime, reference, device] = [undefined, undefined, undefined] as unknown as [Runtime, Runtime, GPUDevice];
  beforeAll(async () => {
    device = await callersDevice();
    runtime = await createRuntime({ backend: 'webgpu', webgpu: { device } });
    reference = await createRuntime({ backend: 'reference' });
  });
  afterAll(() => {
    runtime.dispose();
    device.destroy();
    reference.dispose();
  });

  const open = (rows: number, dtype: 'f32' | 'f16' | 'bf16' | 'i8' = 'f32') =>
    createKeyValueCache(runtime, { layers: 1, rows, heads: HEADS, d: D, e: E, capacity: 600, dtype });

  function append(cache: KeyValueCache, tokens: Token[][], added: readonly Token[][]): void {
    const n = Math.max(...added.map((own) => own.length));
    const all = (name: 'k' | 'v', columns: number) =>
      runtime.tensor(
        Float32Array.from(
          added.flatMap((own) =>
            padded(
              own.flatMap((token) => token[name]),
              n * HEADS * columns,
            ),
          ),
        ),
        [added.length, n, HEADS, columns],
      );
    using k = all('k', D);
    using v = all('v', E);
    cache.append(0, k, v, { counts: added.map((own) => own.length) });
    for (const [row, own] of added.entries()) tokens[row]?.push(...own);
  }

  /** The same as plain attention of the reference to the tokens of each row. */
  async function expectSame(
    cache: KeyValueCache,
    tokens: Token[][],
    counts: number[],
    options: Options = {},
    factor = 1,
  ) {
    const h = HEADS * SHARED;
    const n = Math.max(...counts);
    const queries = await runtime.random([tokens.length, n, h, D], { seed: 5 }).read();
    using q = runtime.tensor(
      queries.map((x) => x * factor),
      [tokens.length, n, h, D],
    );
    const { out, lse } = attention(q, cache.layer(0), { ...options, counts } as never);
    const [outs, sums] = [(await out.read()) as Float32Array, await lse.read()];
    out.dispose();
    lse.dispose();
    for (const [row, own] of tokens.entries()) {
      const count = counts[row] as number;
      const of = (name: 'k' | 'v', columns: number) =>
        reference.tensor(Float32Array.from(own.flatMap((token) => token[name])), [1, own.length, HEADS, columns]);
      const [first, past] = [row * n * h, (row * n + count) * h];
      expect(sums.subarray(past, (row + 1) * n * h).every((x) => x === Number.NEGATIVE_INFINITY)).toBe(true);
      expect(outs.subarray(past * E, (row + 1) * n * h * E).every((x) => x === 0)).toBe(true);
      if (count === 0) continue;
      const given = reference.tensor(
        queries.slice(first * D, past * D).map((x) => x * factor),
        [1, count, h, D],
      );
      const expected = attention(given, of('k', D), of('v', E), { causal: true, ...options });
      const expectNear = (got: Float32Array, want: Float32Array) => {
        expectClose(
          got,
          want,
          want.map((x) => (Number.isFinite(x) ? TOLERANCE * Math.max(1, Math.abs(x)) : 0)),
        );
      };
      expectNear(outs.subarray(first * E, past * E), (await expected.out.read()) as Float32Array);
      expectNear(sums.subarray(first, past), await expected.lse.read());
    }
  }

  test.each(['f32', 'f16', 'bf16', 'i8'] as const)('%s rows after forks and truncation', async (dtype) => {
    const cache = open(2, dtype);
    const tokens: Token[][] = [[], []];
    append(cache, tokens, [made(20, 1), made(1, 2)]);
    append(cache, tokens, [made(70, 3), made(32, 4)]);
    await expectSame(cache, tokens, [3, 0]);
    const fork = cache.fork([1, 0, 0]);
    const forked = [1, 0, 0].map((row) => [...(tokens[row] as Token[])]);
    append(fork, forked, [made(1, 3), made(5, 4), []]);
    append(cache, tokens, [made(1, 5), made(70, 6)]);
    await expectSame(fork, forked, [1, 5, 2]);
    cache.truncate([65, 64]);
    for (const own of tokens) own.splice(own === tokens[0] ? 65 : 64);
    append(fork, forked, [made(100, 7), [], made(40, 8)]);
    append(cache, tokens, [made(150, 9), made(2, 10)]);
    await expectSame(cache, tokens, [1, 1]);
    expect(slabsOf(fork)).toBeGreaterThan(2);
    await expectSame(fork, forked, [4, 5, 2], { score: scores.alibi([1, 0.5, 0.2, 0.1, 0, 0.3]) });
    fork.dispose();
    append(cache, tokens, [[], made(149, 11)]);
    await expectSame(cache, tokens, [1, 1], { mask: masks.or(masks.sinks(3), masks.band(40, -1)) });
    cache.dispose();
  });

  test.each([
    ['NaN in a key', 'k', Number.NaN, 40],
    ['an infinite key', 'k', Number.POSITIVE_INFINITY, 40],
    ['NaN in a value', 'v', Number.NaN, 100],
    ['an infinite value', 'v', Number.NEGATIVE_INFINITY, 100],
    ['a value that weighs nearly nothing', 'v', Number.POSITIVE_INFINITY, 3],
    ['a key that only the last query sees', 'k', Number.NaN, 129],
    ['a value that only the last query sees', 'v', Number.NaN, 129],
  ] as const)('%s', async (_, name, value, at) => {
    const cache = open(1);
    const own = made(130, 1);
    (own[at] as Token)[name][2] = value;
    const tokens: Token[][] = [[]];
    for (const [first, past] of [
      [0, 30],
      [30, 70],
      [70, 130],
    ])
      append(cache, tokens, [own.slice(first, past)]);
    expect(slabsOf(cache)).toBe(3);
    await expectSame(cache, tokens, [2]);
    await expectSame(cache, tokens, [2], { score: scores.softcap(20) });
    await expectSame(cache, tokens, [1], { window: [20, -1] });
    cache.dispose();
  });

  test('scores and sums that are no number of 32 bits', async () => {
    const cache = open(1);
    const tokens: Token[][] = [[]];
    const own = made(130, 1);
    for (const token of own) token.v[1] = 3e38;
    append(cache, tokens, [own]);
    await expectSame(cache, tokens, [2]);
    await expectSame(cache, tokens, [2], {}, 3e37);
    cache.dispose();
  });
});

const slabsOf = (cache: KeyValueCache) =>
  new Set(cache.layer(0).rows.flatMap(({ pages }) => pages.map((page) => page?.slab))).size;

const padded = (numbers: readonly number[], length: number) => [
  ...numbers,
  ...new Array<number>(length - numbers.length).fill(Number.NaN),
];

/** Tokens of numbers that each way to store them holds: whole ones, of each head and key one as large as 8 bits have. */
function made(count: number, seed: number): Token[] {
  let state = seed;
  const next = () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.round(state / 2 ** 24) - 64;
  };
  const row = (columns: number) =>
    Array.from({ length: HEADS * columns }, (_, c) => (c % columns === 0 ? 127 : next()));
  return Array.from({ length: count }, () => ({ k: row(D), v: row(E) }));
}
