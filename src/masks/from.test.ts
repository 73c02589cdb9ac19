import { expect, test } from 'vitest';
import { from } from './from';
import { keyWords } from './key-words';
import { oneHead } from './mask';

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

test('is called by its source', () => {
  expect(from((_b, _h, q, k) => q >= k).name).toBe('from (_b, _h, q, k) => q >= k');
});

test('refuses what cannot be compiled', () => {
  const outside = 3;
  expect(() => from((_b, _h, q, k) => q - k < outside)).toThrow(
    "masks.from: 'outside' at 1:27 is not a parameter: pass it as captured, masks.from(fn, { outside })",
  );
});
