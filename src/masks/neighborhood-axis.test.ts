import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { axisKeys, checkNeighborhoodAxis, groupLength, groupWindow, type NeighborhoodAxis } from './neighborhood-axis';

const axis = (given: Partial<NeighborhoodAxis> & Pick<NeighborhoodAxis, 'length' | 'window'>): NeighborhoodAxis => ({
  stride: 1,
  dilation: 1,
  causal: false,
  ...given,
});

/** The keys of query x, one by one. */
function keysOf(given: NeighborhoodAxis, x: number): number[] {
  const { first, count, step } = axisKeys(given, x);
  return Array.from({ length: count }, (_, at) => first + at * step);
}

const keysOfAll = (given: NeighborhoodAxis) => Array.from({ length: given.length }, (_, x) => keysOf(given, x));

const span = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, at) => first + at);

const anyAxis = fc
  .record({ window: fc.integer({ min: 2, max: 9 }), dilation: fc.integer({ min: 1, max: 4 }), causal: fc.boolean() })
  .chain(({ window, dilation, causal }) =>
    fc.record({
      length: fc.integer({ min: window * dilation, max: window * dilation + 30 }),
      window: fc.constant(window),
      stride: fc.integer({ min: 1, max: window }),
      dilation: fc.constant(dilation),
      causal: fc.constant(causal),
    }),
  );

describe("the papers' hand examples", () => {
  test('7 tokens, window 3', () => {
    const keys = keysOfAll(axis({ length: 7, window: 3 }));
    expect(keys).toEqual([span(0, 2), span(0, 2), span(1, 3), span(2, 4), span(3, 5), span(4, 6), span(4, 6)]);
    const seenBy = span(0, 6).map((key) => keys.filter((seen) => seen.includes(key)).length);
    expect(seenBy).toEqual([2, 3, 4, 3, 4, 3, 2]);
  });

  test('8 tokens, an even window of 4: two before, itself, one after', () => {
    const keys = keysOfAll(axis({ length: 8, window: 4 }));
    expect(keys[3]).toEqual(span(1, 4));
    expect(keys.slice(0, 3)).toEqual([span(0, 3), span(0, 3), span(0, 3)]);
    expect(keys.slice(6)).toEqual([span(4, 7), span(4, 7)]);
  });

  test('8 tokens, window 4, stride 2', () => {
    const keys = keysOfAll(axis({ length: 8, window: 4, stride: 2 }));
    const pairs = [span(0, 3), span(1, 4), span(3, 6), span(4, 7)];
    expect(keys).toEqual(pairs.flatMap((pair) => [pair, pair]));
  });

  test('a stride as wide as the window makes blocks', () => {
    const keys = keysOfAll(axis({ length: 8, window: 4, stride: 4 }));
    expect(keys).toEqual(span(0, 7).map((x) => (x < 4 ? span(0, 3) : span(4, 7))));
  });

  test('10 tokens, window 4, stride 4: the last group is short, its window is not', () => {
    const keys = keysOfAll(axis({ length: 10, window: 4, stride: 4 }));
    expect([keys[0], keys[4], keys[8], keys[9]]).toEqual([span(0, 3), span(4, 7), span(6, 9), span(6, 9)]);
  });

  test('8 tokens, dilation 2, window 3', () => {
    const dilated = axis({ length: 8, window: 3, dilation: 2 });
    expect(keysOf(dilated, 5)).toEqual([3, 5, 7]);
    expect(keysOf(dilated, 0)).toEqual([0, 2, 4]);
  });
});

describe('properties', () => {
  test('a query sees its window, whole unless causal, of its own group, within the axis', () => {
    fc.assert(
      fc.property(anyAxis, (given) => {
        keysOfAll(given).forEach((keys, x) => {
          for (const key of keys) {
            expect(key % given.dilation).toBe(x % given.dilation);
            expect(key).toBeGreaterThanOrEqual(0);
            expect(key).toBeLessThan(given.length);
            if (given.causal) expect(key).toBeLessThanOrEqual(x);
          }
          if (given.causal) expect(keys).toContain(x);
          else expect(keys).toHaveLength(given.window);
        });
      }),
    );
  });

  test('dilation is no dilation in each group', () => {
    fc.assert(
      fc.property(anyAxis, (given) => {
        for (let x = 0; x < given.length; x++) {
          const group = x % given.dilation;
          const alone = axis({ ...given, length: groupLength(given, group), dilation: 1 });
          const expected = keysOf(alone, Math.floor(x / given.dilation)).map((key) => key * given.dilation + group);
          expect(keysOf(given, x)).toEqual(expected);
        }
      }),
    );
  });

  test('stride 1 sees the nearest keys, and causally the last', () => {
    fc.assert(
      fc.property(anyAxis, (given) => {
        const { length, window } = given;
        const sliding = axis({ length, window, causal: given.causal });
        keysOfAll(sliding).forEach((keys, x) => {
          // Between two keys at the same distance, an even window takes the one before.
          const nearest = span(0, given.causal ? x : length - 1).sort(
            (a, b) => Math.abs(a - x) - Math.abs(b - x) || a - b,
          );
          expect(keys).toEqual(nearest.slice(0, window).sort((a, b) => a - b));
        });
      }),
    );
  });

  test('windows move on with their queries, and neighbours overlap or touch', () => {
    fc.assert(
      fc.property(anyAxis, (given) => {
        const length = groupLength(given, 0);
        for (let i = 1; i < length; i++) {
          const [before, now] = [groupWindow(given, i - 1, length), groupWindow(given, i, length)];
          expect(now[0]).toBeGreaterThanOrEqual(before[0]);
          expect(now[1]).toBeGreaterThanOrEqual(before[1]);
          expect(now[0]).toBeLessThanOrEqual(before[1]);
        }
      }),
    );
  });

  test('a whole window sees everything; a causal one everything before', () => {
    for (const causal of [false, true]) {
      keysOfAll(axis({ length: 9, window: 9, stride: 1, causal })).forEach((keys, x) => {
        expect(keys).toEqual(span(0, causal ? x : 8));
      });
    }
  });

  test('of a causal stride group, earlier queries see fewer keys', () => {
    const keys = keysOfAll(axis({ length: 12, window: 4, stride: 3, causal: true }));
    expect(keys.slice(6, 9)).toEqual([span(5, 6), span(5, 7), span(5, 8)]);
  });
});

test.each([
  [{ length: 1, window: 2 }, 'length of the grid on axis 1 must be an integer from 2'],
  [{ length: 48, window: 90 }, 'window on axis 1 must be an integer from 2 to 48, the length of the grid, got 90'],
  [{ length: 48, window: 1 }, 'window on axis 1 must be an integer from 2 to 48, the length of the grid, got 1'],
  [{ length: 48, window: 4.5 }, 'window on axis 1 must be an integer from 2 to 48'],
  [{ length: 48, window: 24, stride: 25 }, 'stride on axis 1 must be an integer from 1 to 24, the window, got 25'],
  [{ length: 48, window: 24, stride: 0 }, 'stride on axis 1 must be an integer from 1 to 24'],
  [
    { length: 48, window: 24, dilation: 3 },
    'dilation on axis 1 must be an integer from 1 to 2, since a window of 24 must fit into 48, got 3',
  ],
  [{ length: 48, window: 24, dilation: -1 }, 'dilation on axis 1 must be an integer from 1 to 2'],
])('%j is refused', (given, message) => {
  expect(() => checkNeighborhoodAxis(axis(given), 1)).toThrow(message);
});
