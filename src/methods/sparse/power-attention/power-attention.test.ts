import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { area } from '../../../masks/area';
import { causal } from '../../../masks/band';
import { oneHead } from '../../../masks/mask';
import { problemOfLetters } from '../../define';
import { powerAttention } from '.';
import { sees } from './reference';

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      m: fc.integer({ min: 1, max: 90 }),
      params: fc.record(
        {
          block: fc.integer({ min: 1, max: 20 }),
          window: fc.integer({ min: 1, max: 6 }),
          sink: fc.boolean(),
          scale: fc.double({ min: -2, max: 2, noNaN: true }),
        },
        { requiredKeys: ['block'] },
      ),
    })
    .map(({ m, params }) => ({ q: [b, n, h, d], k: [b, m, g, d], v: [b, m, g, e], params })),
);

describeMethod(powerAttention, cases);

/** The keys that each query sees, by the reference. */
function keysSeen(params: object, n: number, m = n): number[][] {
  const seen = sees(powerAttention.parse(params), { n, m });
  return Array.from({ length: n }, (_, i) => Array.from({ length: m }, (_, j) => j).filter((j) => seen(i, j, 0, 0)));
}

describe('the reference', () => {
  test('rows at the level of tokens, window 1', () => {
    expect(keysSeen({ block: 1, window: 1 }, 6)).toEqual([
      [0],
      [0, 1],
      [0, 1, 2],
      [0, 1, 2, 3],
      [0, 2, 3, 4],
      [0, 1, 3, 4, 5],
    ]);
  });

  const triangle = (n: number) => Array.from({ length: n }, (_, i) => Array.from({ length: i + 1 }, (_, j) => j));

  test.each([
    ['three blocks or fewer', { block: 14, window: 1 }],
    ['a window of all blocks', { block: 4, window: 10 }],
    ['one block', { block: 40, window: 1 }],
    ['one block, no sink', { block: 64, window: 1, sink: false }],
  ])('%s: dense causal', (_, params) => {
    expect(keysSeen(params, 40)).toEqual(triangle(40));
  });

  test('without the sink only powers and the window are left', () => {
    // Distances 0, 1, 2, 4, 8 from block 11, and 3 by the window.
    expect(keysSeen({ block: 1, window: 4, sink: false }, 12).at(-1)).toEqual([3, 7, 8, 9, 10, 11]);
    expect(keysSeen({ block: 1, window: 4 }, 12).at(-1)).toEqual([0, 3, 7, 8, 9, 10, 11]);
  });

  test('fewer queries than keys are the last ones', () => {
    const params = { block: 3, window: 2 };
    expect(keysSeen(params, 5, 40)).toEqual(keysSeen(params, 40).slice(-5));
  });

  test('queries before the first key see nothing', () => {
    expect(keysSeen({ block: 2, window: 1 }, 5, 3).slice(0, 3)).toEqual([[], [], [0]]);
  });
});

test('the cost counts the pairs seen: the density of 128 blocks', () => {
  const letters = { b: 1, n: 128, m: 128, h: 1, g: 1, d: 1, e: 1 };
  const { flops } = powerAttention.cost(letters, powerAttention.parse({ block: 1 }));
  const pairs = keysSeen({ block: 1 }, 128).flat().length;
  expect(flops).toBe(4 * pairs);
  expect(pairs / ((128 * 129) / 2)).toBeCloseTo(0.138, 3);
});

test.each([1, 2, 3, 100, 4096, 100_000])('variants are all different and valid for %i keys', (m) => {
  const variants = powerAttention.variants({ b: 1, n: m, m, h: 1, g: 1, d: 1, e: 1 });
  const settings = variants.map((variant) => JSON.stringify(powerAttention.parse(variant)));
  expect(new Set(settings).size).toBe(settings.length);
});

test('variants at 4096 keys see between 10% and 40% of the past', () => {
  const problem = problemOfLetters({ n: 4096, m: 4096 });
  for (const variant of powerAttention.variants({ b: 1, n: 4096, m: 4096, h: 1, g: 1, d: 1, e: 1 })) {
    const mask = powerAttention.mask?.(powerAttention.parse(variant), problem);
    const density = area(mask!, problem) / area(causal(), oneHead(4096, 4096));
    expect(density).toBeGreaterThan(0.1);
    expect(density).toBeLessThan(0.4);
  }
});

describe('params', () => {
  test('are those of the paper by default', () => {
    expect(powerAttention.parse({})).toEqual({ block: 256, window: 5, sink: true });
    expect(powerAttention.isCausal?.(powerAttention.parse({}))).toBe(true);
  });

  test.each([
    [{ block: 0 }, 'param block of power-attention: expected integer >= 1, got 0'],
    [{ block: 1.5 }, 'param block of power-attention: expected integer >= 1, got 1.5'],
    [{ window: 0 }, 'param window of power-attention: expected integer >= 1, got 0'],
    [{ window: '5' }, 'param window of power-attention: expected integer >= 1, got "5"'],
    [{ sink: 1 }, 'param sink of power-attention: expected true or false, got 1'],
    [{ scale: Number.NaN }, 'param scale of power-attention: expected finite float32 number, got NaN'],
    [{ causal: true }, "power-attention has no param 'causal': expected block, window, sink, scale"],
  ])('%j is refused by name', (params, message) => {
    expect(() => powerAttention.parse(params as never)).toThrow(message);
  });
});
