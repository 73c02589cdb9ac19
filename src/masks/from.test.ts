import { describe, expect, test } from 'vitest';
import { createRuntime } from '../ops/create-runtime';
import { hostTensor } from '../tensor/host';
import { from } from './from';
import { keyWords } from './key-words';
import { type Mask, oneHead } from './mask';

const places = [0, 1].flatMap((batch) => [0, 1].map((head) => ({ b: 2, n: 5, m: 9, h: 2, g: 1, batch, head })));

test('sees what the function says, from captured values and n and m', () => {
  const doc = [0, 0, 1, 1, 1, 2, 2, 2, 2];
  const mask = from((_b, _h, q, k, { doc, n, m }) => doc[q + m - n] === doc[k] && k <= q + m - n, { doc });
  const seen = Array.from({ length: 5 }, (_, q) =>
    Array.from({ length: 9 }, (_, k) => (mask.sees(q, k, oneHead(5, 9)) ? '#' : '.')).join(''),
  );
  expect(seen).toEqual(['..###....', '.....#...', '.....##..', '.....###.', '.....####']);
  expect(keyWords(mask, [0, 1, 2, 3, 4], oneHead(5, 9)).count()).toBe(3 + 1 + 2 + 3 + 4);
});

test('tells places apart only where the function does', () => {
  const variants = (mask: ReturnType<typeof from>) => new Set(places.map((place) => mask.variant?.(place))).size;
  expect(variants(from((_b, _h, q, k) => q > k))).toBe(1);
  expect(variants(from((b, _h, q, k) => q > k + b))).toBe(2);
  expect(variants(from((_b, h, q, k) => q > k + h))).toBe(2);
  expect(variants(from((b, h, q, k) => q > k + h * b))).toBe(4);
  expect(from((_b, h, _q, k) => k === h).sees(0, 1, { ...oneHead(5, 9), head: 1 })).toBe(true);
});

/** Number of pairs that `mask` sees among n queries and as many keys. */
function area(mask: Mask, n: number): number {
  let pairs = 0;
  for (let first = 0; first < n; first += 32) {
    const queries = Array.from({ length: Math.min(32, n - first) }, (_, r) => first + r);
    pairs += keyWords(mask, queries, oneHead(n, n)).count();
  }
  return pairs;
}

describe('published masks see as many pairs as published', () => {
  const doc = [100, 200, 300, 424].flatMap((length, at) => new Array<number>(length).fill(at));
  const clamp = { side: 32, half: 3 };
  const masks: readonly [name: string, pairs: number, n: number, mask: Mask][] = [
    ['causal', 524800, 1024, from((_b, _h, q, k) => q >= k)],
    ['sliding', 230272, 1024, from((_b, _h, q, k, { w }) => q >= k && q - k <= w, { w: 256 })],
    ['prefix', 569650, 1024, from((_b, _h, q, k, { p }) => k < p || q >= k, { p: 300 })],
    ['documents', 319776, 1024, from((_b, _h, q, k, { doc }) => doc[q] === doc[k], { doc })],
    ['causal documents', 160400, 1024, from((_b, _h, q, k, { doc }) => doc[q] === doc[k] && q >= k, { doc })],
    ['dilated', 31168, 512, from((_b, _h, q, k) => Math.abs(q - k) <= 64 && Math.abs(q - k) % 2 === 0)],
    ['global', 129854, 1024, from((_b, _h, q, k) => Math.abs(q - k) <= 64 || q === 0 || k === 0)],
    [
      'neighbourhood',
      50176,
      1024,
      from((_b, _h, q, k, { side, half }) => {
        const x = Math.min(side - 1 - half, Math.max(half, q % side));
        const y = Math.min(side - 1 - half, Math.max(half, Math.floor(q / side)));
        return Math.abs(x - (k % side)) <= half && Math.abs(y - Math.floor(k / side)) <= half;
      }, clamp),
    ],
    [
      'block diffusion',
      69632,
      512,
      from(
        (_b, _h, q, k, { length, block }) => {
          const noisedQuery = q < length;
          const noisedKey = k < length;
          const blockOfQuery = Math.floor((q % length) / block);
          const blockOfKey = Math.floor((k % length) / block);
          if (noisedQuery === noisedKey && blockOfQuery === blockOfKey) return true;
          if (noisedQuery) return !noisedKey && blockOfQuery > blockOfKey;
          return !noisedKey && blockOfQuery >= blockOfKey;
        },
        { length: 256, block: 16 },
      ),
    ],
  ];
  test.each(masks)('%s: %i', (_name, pairs, n, mask) => {
    expect(area(mask, n)).toBe(pairs);
  });
});

test('is called by its source', () => {
  expect(from((_b, _h, q, k) => q >= k).name).toBe('from (_b, _h, q, k) => q >= k');
});

test('sees what tensors hold', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using own = runtime.tensor(new Float32Array([1, 0, 0, 1, 1, 0]), [2, 3]);
  for (const table of [own, hostTensor([1, 0, 0, 1, 1, 0], [2, 3])]) {
    const mask = from((_b, h, q, k, { table: { data, shape } }) => data[h * shape[1]! + q - k + 1] === 1, { table });
    const sees = (head: number) =>
      [0, 1].map((q) => [0, 1].map((k) => mask.sees(q, k, { b: 1, n: 2, m: 2, h: 2, g: 2, batch: 0, head })));
    expect(sees(0)).toEqual([
      [false, true],
      [false, false],
    ]);
    expect(sees(1)).toEqual([
      [true, true],
      [false, true],
    ]);
  }
});

test('refuses what cannot be compiled', () => {
  const outside = 3;
  const terms = new Array(600).fill('k').join(' + ');
  const declarations = Array.from({ length: 600 }, (_, at) => `const x${at + 1} = x${at} + k;`).join(' ');
  const branches = 'if (q === 1) return true; '.repeat(4000);
  for (const body of [
    `return ${terms} < q`,
    `const x0 = q; ${declarations} return x600 < q`,
    `${branches} return k < q`,
  ]) {
    expect(() => from(new Function('b', 'h', 'q', 'k', body) as never)).toThrow(
      'an expression of more than 500 levels or terms',
    );
  }
  expect(() => from((_b, _h, q, k) => q - k < outside)).toThrow(
    "masks.from: 'outside' at 1:27 is not a parameter: pass it as captured, masks.from(fn, { outside })",
  );
});
