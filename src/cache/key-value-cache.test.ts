import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import { attention, createKeyValueCache, type KeyValueCache, masks, type Runtime, scores, type Tensor } from '../index';
import { normal } from '../tensor/random';

const [ROWS, HEADS, D, E] = [2, 2, 6, 5];
const TOLERANCE = { f32: 2e-5, f16: 3e-3, bf16: 2e-2, i8: 3e-2 } as const;

/** Tokens by position, the same whenever they are appended. */
function tokens(
  runtime: Runtime,
  from: readonly number[],
  n: number,
  columns: number,
  heads: number,
  seed: number,
): Tensor {
  const all = normal(ROWS * 1024 * heads * columns, seed);
  const data = from.flatMap((first, row) => {
    const at = (row * 1024 + first) * heads * columns;
    return Array.from(all.subarray(at, at + n * heads * columns));
  });
  return runtime.tensor(Float32Array.from(data), [from.length, n, heads, columns]);
}

function appendTokens(cache: KeyValueCache, layer: number, counts: readonly number[]): void {
  const from = cache.layer(layer).lengths;
  const n = Math.max(...counts);
  const [k, v] = [tokens(cache.runtime, from, n, D, HEADS, 1), tokens(cache.runtime, from, n, E, HEADS, 2)];
  cache.append(layer, k, v, { counts });
  k.dispose();
  v.dispose();
}

/** What plain attention gives for the last `counts[r]` tokens of each row. */
async function expectAttention(
  cache: KeyValueCache,
  layer: number,
  counts: readonly number[],
  options: Parameters<typeof attention>[3] = {},
  tolerance = 2e-5,
): Promise<void> {
  const { runtime } = cache;
  const lengths = cache.layer(layer).lengths;
  const n = Math.max(...counts);
  const h = 2 * HEADS;
  const q = tokens(
    runtime,
    lengths.map((length, row) => length - (counts[row] as number)),
    n,
    D,
    h,
    3,
  );
  const { out, lse } = attention(q, cache.layer(layer), {
    ...options,
    mask: undefined,
    counts,
    ...(options.score && { score: options.score }),
  } as never);
  const [outs, lses] = [(await out.read()) as Float32Array, await lse.read()];
  for (const [row, length] of lengths.entries()) {
    const count = counts[row] as number;
    const rest = outs.subarray((row * n + count) * h * E, (row + 1) * n * h * E);
    expect(rest.every((x) => x === 0)).toBe(true);
    expect(lses.subarray((row * n + count) * h, (row + 1) * n * h).every((x) => x === -Infinity)).toBe(true);
    if (count === 0) continue;
    const from = lengths.map(() => 0);
    const part = (x: Tensor) => x.slice(0, row, row + 1);
    const expected = attention(
      part(q).slice(1, 0, count),
      part(tokens(runtime, from, length, D, HEADS, 1)),
      part(tokens(runtime, from, length, E, HEADS, 2)),
      { causal: true, ...options },
    );
    expectClose(
      outs.subarray(row * n * h * E, (row * n + count) * h * E),
      (await expected.out.read()) as Float32Array,
      4 * tolerance,
    );
    expectClose(lses.subarray(row * n * h, (row * n + count) * h), await expected.lse.read(), 4 * tolerance);
  }
}

describeOnBackends('a key-value cache', (runtime) => {
  test.each(['f32', 'f16', 'bf16', 'i8'] as const)('in %s decodes as attention over all tokens', async (dtype) => {
    const cache = createKeyValueCache(runtime(), {
      layers: 2,
      rows: ROWS,
      heads: HEADS,
      d: D,
      e: E,
      dtype,
      capacity: 600,
    });
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
  });
});
