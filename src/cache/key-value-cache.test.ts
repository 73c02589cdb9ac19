import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../test/backends';
import { expectClose } from '../../test/expect';
import { scoped } from '../../test/scoped';
import {
  attention,
  type CachedAttentionOptions,
  contiguous,
  createKeyValueCache,
  createRuntime,
  gather,
  type KeyValueCache,
  type KeyValueCacheOptions,
  type Runtime,
  rope,
  type Tensor,
} from '../index';
import * as scores from '../scores';
import { normal } from '../tensor/random';

const [ROWS, HEADS, D, E, LONGEST] = [2, 2, 6, 5, 512];
const TOLERANCE = { f32: 2e-5, f16: 3e-3, bf16: 2e-2, i8: 3e-2 } as const;

/** Tokens by position, the same whenever they are appended. */
function tokens(
  runtime: Runtime,
  from: readonly number[],
  n: number,
  columns: number,
  heads: number,
  seed: number,
  origins: readonly number[] = from.map((_, row) => row),
): Tensor {
  const all = normal(ROWS * LONGEST * heads * columns, seed);
  const data = from.flatMap((first, row) => {
    const at = ((origins[row] as number) * LONGEST + first) * heads * columns;
    return Array.from(all.subarray(at, at + n * heads * columns));
  });
  return runtime.tensor(Float32Array.from(data), [from.length, n, heads, columns]);
}

function appendTokens(
  cache: KeyValueCache,
  layer: number,
  counts: readonly number[],
  origins?: readonly number[],
): void {
  const from = cache.layer(layer).lengths;
  const n = Math.max(...counts);
  const of = (columns: number, seed: number) => tokens(cache.runtime, from, n, columns, HEADS, seed, origins);
  const [k, v] = [of(D, 1), of(E, 2)];
  cache.append(layer, k, v, { counts });
  k.dispose();
  v.dispose();
}

/** What plain attention gives for the last `counts[r]` tokens of each row. */
const expectAttention = (...given: Parameters<typeof compareAttention>) =>
  scoped(given[0].runtime, () => compareAttention(...given));

async function compareAttention(
  cache: KeyValueCache,
  layer: number,
  counts: readonly number[],
  options: CachedAttentionOptions = {},
  tolerance = 2e-5,
  origins: readonly number[] = counts.map((_, row) => row),
): Promise<void> {
  const { runtime } = cache;
  const lengths = cache.layer(layer).lengths;
  const n = Math.max(...counts);
  const h = 2 * HEADS;
  const first = lengths.map((length, row) => length - (counts[row] as number));
  const q = tokens(runtime, first, n, D, h, 3, origins);
  const { out, lse } = attention(q, cache.layer(layer), { ...options, counts });
  const [outs, lses] = [(await out.read()) as Float32Array, await lse.read()];
  const mask = cache.layer(layer).mask;
  for (const [row, length] of lengths.entries()) {
    const count = counts[row] as number;
    const [from, end, past] = [row * n * h, (row * n + count) * h, (row + 1) * n * h];
    expect(outs.subarray(end * E, past * E).every((x) => x === 0)).toBe(true);
    expect(lses.subarray(end, past).every((x) => x === Number.NEGATIVE_INFINITY)).toBe(true);
    if (count === 0) continue;
    // The same tokens as those of the row that it came from.
    const whole = (columns: number, seed: number) =>
      tokens(runtime, [0], length, columns, HEADS, seed, [origins[row] as number]);
    const queries = q.slice(0, row, row + 1).slice(1, 0, count);
    const plain = attention(queries, whole(D, 1), whole(E, 2), { causal: true, ...(mask && { mask }), ...options });
    expectClose(outs.subarray(from * E, end * E), (await plain.out.read()) as Float32Array, 4 * tolerance);
    expectClose(lses.subarray(from, end), await plain.lse.read(), 4 * tolerance);
  }
}

const open = (runtime: Runtime, options: Partial<KeyValueCacheOptions> = {}) =>
  createKeyValueCache(runtime, { layers: 2, rows: ROWS, heads: HEADS, d: D, e: E, capacity: 600, ...options });

describeOnBackends('a key-value cache', (runtime) => {
  test('decodes the blocks of a selection, other ones for each row and head, few queries and many', async () => {
    const h = 2 * HEADS;
    await scoped(runtime(), async () => {
      using cache = open(runtime());
      appendTokens(cache, 0, [70, 41]);
      for (const n of [2, 20]) {
        const q = runtime().random([ROWS, n, h, D], { seed: n });
        const [queryBlock, nq] = [n / 2, 2];
        // The row of 41 tokens has 9 blocks of 5.
        const entries = Int32Array.from({ length: ROWS * h * nq * 3 }, (_, at) => ((at * 7) % 10) - 1);
        const lists = runtime().tensor<'i32'>(entries, [ROWS, h, nq, 3]);
        const blocks = { queryBlock, keyBlock: 5 };
        const { out, lse } = attention(q, cache.layer(0), { selection: { lists, ...blocks }, window: [60, 0] });
        const runs = runtime().tensor<'i32'>(
          Int32Array.from({ length: 2 * entries.length }, (_, at) => (entries[at >> 1] as number) + (at & 1)).map((x) =>
            Math.max(0, x),
          ),
          [entries.length, 2],
        );
        const offsets = runtime().tensor<'i32'>(
          Int32Array.from({ length: ROWS * h * (nq + 1) }, (_, at) => 3 * (Math.floor(at / 3) * nq + (at % 3))),
          [ROWS, h, nq + 1],
        );
        const same = attention(q, cache.layer(0), { selection: { runs, offsets, ...blocks }, window: [60, 0] });
        expect(await same.out.read()).toEqual(await out.read());
        for (const [row, length] of cache.layer(0).lengths.entries()) {
          const of = (columns: number, seed: number) => tokens(runtime(), [0], length, columns, HEADS, seed, [row]);
          const own = attention(q.slice(0, row, row + 1), of(D, 1), of(E, 2), {
            selection: { lists: contiguous(lists.slice(0, row, row + 1)) as Tensor<'i32'>, ...blocks },
            causal: true,
            window: [60, 0],
          });
          expectClose(await contiguous(out.slice(0, row, row + 1)).read(), await own.out.read(), 1e-4);
          expectClose(await contiguous(lse.slice(0, row, row + 1)).read(), await own.lse.read(), 1e-4);
        }
      }
    });
  });

  test.each(fewOnGpu(['i8', 'f16', 'bf16', 'f32'] as const, 1))(
    'in %s decodes as attention over all tokens',
    async (dtype) => {
      const cache = open(runtime(), { dtype });
      appendTokens(cache, 0, [40, 19]);
      await expectAttention(cache, 0, [40, 19], {}, TOLERANCE[dtype]);
      appendTokens(cache, 1, [3, 0]);
      await expectAttention(cache, 1, [3, 0], {}, TOLERANCE[dtype]);
      for (const counts of [
        [1, 1],
        [0, 5],
        [13, 2],
        [400, 1],
        [1, 1],
      ]) {
        appendTokens(cache, 0, counts);
        await expectAttention(cache, 0, counts, {}, TOLERANCE[dtype]);
      }
      expect(cache.layer(0).lengths).toEqual([455, 29]);
      expect(cache.lengths).toEqual([3, 0]);
      const slopes = Array.from({ length: 2 * HEADS }, (_, head) => 2 ** -head);
      await expectAttention(cache, 0, [1, 1], { score: scores.alibi(slopes) }, TOLERANCE[dtype]);
      await expectAttention(cache, 0, [9, 4], { score: scores.alibi(slopes), window: [30, -1] }, TOLERANCE[dtype]);
      cache.dispose();
    },
  );

  test.each(fewOnGpu(['i8', 'f16'] as const, 1))('in %s holds infinity and NaN', async (dtype) => {
    await scoped(runtime(), async () => {
      using cache = open(runtime(), { layers: 1, rows: 1, dtype });
      const numbers = (length: number, at: number, value: number) =>
        Float32Array.from({ length }, (_, i) => (i === at ? value : 0.5));
      const token = (columns: number, at: number, value: number) =>
        runtime().tensor(numbers(HEADS * columns, at, value), [1, 1, HEADS, columns]);
      cache.append(0, token(D, -1, 0), token(E, E - 1, Number.POSITIVE_INFINITY));
      cache.append(0, token(D, -1, 0), token(E, -1, 0));
      const first = (await attention(token(D, -1, 0), cache.layer(0)).out.read()) as Float32Array;
      // With 8 bits the whole row is NaN, with 16 only the one column.
      expect(first.subarray(0, E - 1).every((x) => (dtype === 'i8' ? Number.isNaN(x) : Math.abs(x - 0.5) < 1e-3))).toBe(
        true,
      );
      expect(Number.isFinite(first[E - 1])).toBe(false);
      expect(first.subarray(E).every((x) => Math.abs(x - 0.5) < 0.01)).toBe(true);
      cache.append(0, token(D, D - 1, Number.NaN), token(E, -1, 0));
      const second = (await attention(token(D, -1, 0), cache.layer(0)).out.read()) as Float32Array;
      expect(second.subarray(0, E).every(Number.isNaN)).toBe(true);
      expect(second.subarray(E).every((x) => Math.abs(x - 0.5) < 0.01)).toBe(true);
    });
  });

  test.each(fewOnGpu(['f16', 'bf16', 'i8', 'f32'] as const, 0))(
    'in %s pairs of heads that share keys see what they should',
    async (dtype) => {
      using truth = await createRuntime({ backend: 'reference' });
      const seen = async (own: Runtime, special: number) => {
        using cache = createKeyValueCache(own, { layers: 1, rows: 1, heads: 2, d: 12, e: 32, capacity: 80, dtype });
        return await scoped(own, async () => {
          const of = (n: number, heads: number, columns: number, seed: number, first?: number) => {
            const numbers = normal(n * heads * columns, seed);
            if (first !== undefined) numbers[0] = first;
            return own.tensor(numbers, [1, n, heads, columns]);
          };
          cache.append(0, of(70, 2, 12, 1), of(70, 2, 32, 2, special));
          const { out, lse } = attention(of(1, 4, 12, 3), cache.layer(0));
          return { out: Array.from(await out.read()), lse: Array.from(await lse.read()) };
        });
      };
      for (const special of [0.25, Number.POSITIVE_INFINITY]) {
        const [found, expected] = [await seen(runtime(), special), await seen(truth, special)];
        expectClose(found.out, expected.out, 2e-5);
        expectClose(found.lse, expected.lse, 2e-5);
      }
    },
  );

  test('takes tokens back, and forks share what they have in common', async () => {
    const before = runtime().memory().live;
    const cache = open(runtime(), { layers: 1 });
    appendTokens(cache, 0, [70, 45]);
    cache.truncate([66, 33]);
    appendTokens(cache, 0, [2, 4]);
    await expectAttention(cache, 0, [2, 4]);
    const bytes = cache.bytes;
    const beams = cache.fork([1, 0, 1]);
    expect(beams.bytes).toBe(bytes);
    expect(beams.lengths).toEqual([37, 68, 37]);
    // Each writes to a page of its own from here on.
    appendTokens(beams, 0, [3, 1, 2], [1, 0, 1]);
    appendTokens(cache, 0, [5, 5]);
    await expectAttention(beams, 0, [3, 1, 2], {}, 2e-5, [1, 0, 1]);
    await expectAttention(cache, 0, [5, 5]);
    cache.dispose();
    cache.dispose();
    appendTokens(beams, 0, [1, 1, 30], [1, 0, 1]);
    await expectAttention(beams, 0, [1, 1, 30], {}, 2e-5, [1, 0, 1]);
    beams.dispose();
    await runtime().finish();
    expect(runtime().memory().live).toBe(before);
  });

  test('an append at fault is one of its tokens, and of no others: neither in rows nor forks, nor once taken back', async () => {
    await scoped(runtime(), async () => {
      using cache = open(runtime(), { layers: 1 });
      appendTokens(cache, 0, [40, 19]);
      using before = cache.fork([0, 1]);
      const table = runtime().tensor(new Float32Array(HEADS * (D + E)), [1, HEADS * (D + E)]);
      const faulty = gather(table, runtime().tensor(Int32Array.of(5, 0), [ROWS]));
      const part = (from: number, columns: number) =>
        contiguous(faulty.slice(1, from, from + HEADS * columns)).reshape([ROWS, 1, HEADS, columns]);
      cache.append(0, part(0, D), part(HEADS * D, E), { counts: [1, 0] });
      await expect(expectAttention(cache, 0, [1, 1])).rejects.toThrow('indices must be from 0 to 0, got 5');
      using behind = cache.fork([0]);
      await expect(expectAttention(behind, 0, [1])).rejects.toThrow('got 5 at element 0 of indices');
      using apart = cache.fork([1]);
      await expectAttention(apart, 0, [1], {}, 2e-5, [1]);
      await expectAttention(before, 0, [1, 1]);
      appendTokens(before, 0, [1, 2]);
      await expectAttention(before, 0, [1, 2]);
      cache.truncate([40, 19]);
      await expectAttention(cache, 0, [1, 1]);
      appendTokens(cache, 0, [1, 1]);
      await expectAttention(cache, 0, [1, 1]);
    });
  });

  test('evicts what a window no longer reaches, at absolute positions, and keeps the sinks', async () => {
    const cache = open(runtime(), { layers: [{ window: 20, sinks: 3 }, {}], rows: 1, capacity: 100 });
    for (const count of [50, 1, 1, 30, 1, 40, 1, 12, 1]) {
      appendTokens(cache, 0, [count]);
      await expectAttention(cache, 0, [count], { score: scores.alibi([0.5, 0.25, 0.1, 0]) });
    }
    expect(cache.layer(0).lengths).toEqual([137]);
    expect(cache.layer(0).rows[0]?.pages.map(Boolean)).toEqual([true, false, true, true, true]);
    cache.dispose();
  });

  test('turns keys by their positions, as they are appended or read', async () => {
    await scoped(runtime(), async () => {
      const settings = { theta: 100, layout: 'interleaved', dimensions: 4 } as const;
      const [n, length] = [3, 41];
      const of = (columns: number, seed: number, from: number, heads = HEADS) =>
        tokens(runtime(), [from], length - from, columns, heads, seed);
      const turn = (x: Tensor, offset: number) => rope(x, { ...settings, positions: { offset } });
      const [k, v, q] = [of(D, 1, 0), of(E, 2, 0), of(D, 3, length - n)];
      const expected = attention(turn(q, length - n), turn(k, 0), v, { causal: true });
      for (const apply of ['append', 'read'] as const) {
        using cache = open(runtime(), { layers: 1, rows: 2, rope: { ...settings, apply } });
        // The second row is four tokens behind.
        for (const [from, count] of [
          [0, 36],
          [36, 5],
        ] as const) {
          const two = (columns: number, seed: number) =>
            tokens(runtime(), [from, Math.max(0, from - 4)], count, columns, HEADS, seed, [0, 0]);
          cache.append(0, two(D, 1), two(E, 2), { counts: [count, from === 0 ? 32 : count] });
        }
        const both = tokens(runtime(), [length - n, length - 4 - n], n, D, HEADS, 3, [0, 0]);
        const { out } = attention(cache.layer(0).rotate(both), cache.layer(0));
        const rows = (await out.read()) as Float32Array;
        expectClose(rows.subarray(0, n * HEADS * E), (await expected.out.read()) as Float32Array, 1e-4);
        expect(rows.every(Number.isFinite)).toBe(true);
      }
    });
    expect(() => open(runtime(), { rope: { dimensions: 3 } })).toThrow('dimensions');
    expect(() => open(runtime(), { rope: { apply: 'never' as 'read' } })).toThrow(
      "apply of rope must be one of append, read, got 'never'",
    );
    using plain = open(runtime());
    using q = runtime().tensor(new Float32Array(ROWS * HEADS * D), [ROWS, 1, HEADS, D]);
    expect(() => plain.layer(0).rotate(q)).toThrow('rotate() needs a cache with the option rope');
  });

  test('refuses what does not fit, and is as it was before', async () => {
    const cache = open(runtime(), { layers: [{}, { window: 4 }], rows: 2, capacity: 40 });
    const zeros = (...shape: number[]) => runtime().tensor(new Float32Array(shape.reduce((a, b) => a * b)), shape);
    const [k, v, q] = [zeros(2, 8, HEADS, D), zeros(2, 8, HEADS, E), zeros(2, 8, HEADS, D)];
    for (let at = 0; at < 4; at++) for (const layer of [0, 1]) cache.append(layer, k, v);
    const held = () => [cache.bytes, ...[0, 1].flatMap((layer) => cache.layer(layer).lengths)];
    const before = held();
    const refusals: readonly [() => unknown, string][] = [
      [() => cache.append(0, k, v, { counts: [3, 9] }), 'counts[1] must be an integer from 0 to 8, got 9'],
      [() => cache.append(0, k, v, { counts: [3] }), 'counts must be a number for each of 2 rows, got [3]'],
      [
        () => [cache.append(0, k, v), cache.append(0, k, v)],
        'row 0 of layer 0 would hold 48 tokens, more than the capacity of 40',
      ],
      [() => cache.append(2, k, v), 'layer must be an integer from 0 to 1, got 2'],
      [
        () => cache.append(0, v, v),
        'k must have shape [2, 8, 2, 6], as the cache has 2 rows and 2 heads of 6, got [2, 8, 2, 5]',
      ],
      [() => cache.append(0, k.slice(2, 0, 1), v), 'k must have shape [2, 8, 2, 6]'],
      [() => cache.truncate([33, 0]), 'lengths[0] must be at most 32, the tokens of layer 0, got 33'],
      [() => cache.truncate([32]), 'lengths must be a number for each of 2 rows, got [32]'],
      [() => cache.fork([0, 2]), 'rows[1] must be an integer from 0 to 1, got 2'],
      [() => attention(q, cache.layer(0), { counts: [-1, 0] }), 'counts[0] must be an integer from 0 to 8, got -1'],
      [
        () => attention(zeros(1, 1, HEADS, D), cache.layer(0)),
        'cache must have shape [b, g, d, e] with b = 1 as in q [1, 1, 2, 6], got [2, 2, 6, ',
      ],
      [
        () => attention(zeros(2, 1, 3, D), cache.layer(0)),
        'the 2 heads of the cache must divide the 3 heads of q [2, 1, 3, 6]',
      ],
      [() => open(runtime(), { window: 0 }), 'window must be an integer >= 1, got 0'],
      [() => open(runtime(), { sinks: 2 }), 'sinks of layers[0] go with a window'],
      [() => open(runtime(), { dtype: 'i32' as 'i8' }), "dtype must be one of f32, f16, bf16, i8, got 'i32'"],
      [() => open(runtime(), { capacity: 0 }), 'capacity must be an integer >= 1, got 0'],
    ];
    for (const [call, message] of refusals) {
      await expect(async () => call(), message).rejects.toThrow(message);
      cache.truncate(32);
      expect(held()).toEqual(before);
    }
    const long = open(runtime(), { layers: [{ window: 4 }], rows: 1, capacity: 40 });
    for (let at = 0; at < 20; at++) long.append(0, k.slice(0, 0, 1), v.slice(0, 0, 1));
    expect(() => long.truncate(90)).toThrow('lengths[0] = 90: a query there needs tokens that layer 0 evicted');
    expect(() => attention(zeros(1, 99, HEADS, D), long.layer(0))).toThrow(
      'counts[0] = 99: the first of these tokens sees some',
    );
    const other = await createRuntime({ backend: 'reference' });
    const foreign = other.tensor(new Float32Array(2 * HEADS * D), [2, 1, HEADS, D]);
    expect(() => attention(foreign, cache.layer(0))).toThrow('cache lives on another runtime than q');
    other.dispose();
    const layer = cache.layer(0);
    cache.dispose();
    for (const use of [() => cache.fork([0]), () => cache.append(0, k, v), () => attention(q, layer)])
      expect(use).toThrow('the key-value cache was disposed');
    long.dispose();
  });
});
