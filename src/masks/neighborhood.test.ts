import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { areaAt } from './area';
import {
  type Arrangement,
  and,
  band,
  blocks,
  causal,
  type Extent,
  full,
  type Mask,
  type NeighborhoodParams,
  neighborhood,
  oneHead,
  type TileShapes,
} from './index';

const square = (n: number) => oneHead(n, n);
const product = (extents: readonly number[]) => extents.reduce((size, extent) => size * extent, 1);
const arranged = (mask: Mask, extent: Extent) => mask.arrange?.(extent) as Arrangement;
const rows = (mask: Mask, n: number) => Array.from({ length: n }, (_, i) => mask.intervals?.(i, square(n)));
const span = (first: number, past: number) => Array.from({ length: past - first }, (_, at) => first + at);

describe('limits', () => {
  test('one axis, causal: a window', () => {
    expect(rows(neighborhood({ grid: [20], window: 5, causal: true }), 20)).toEqual(rows(band(4, 0), 20));
    expect(rows(neighborhood({ grid: [20], window: 20, causal: true }), 20)).toEqual(rows(causal(), 20));
  });

  test('windows as wide as the grid: everything', () => {
    expect(rows(neighborhood({ grid: [4, 5], window: [4, 5] }), 20)).toEqual(rows(full(), 20));
    expect(rows(neighborhood({ grid: [2, 3, 4], window: [2, 3, 4] }), 24)).toEqual(rows(full(), 24));
  });

  test('a stride as wide as the window: blocks on the diagonal', () => {
    const diagonal = blocks(4, band(0, 0));
    expect(rows(neighborhood({ grid: [20], window: 4, stride: 4 }), 20)).toEqual(rows(diagonal, 20));
  });

  test('the interior of a window on one axis is a band', () => {
    const mask = neighborhood({ grid: [20], window: 5 });
    expect(rows(mask, 20).slice(2, -2)).toEqual(rows(band(2, 2), 20).slice(2, -2));
    expect(rows(mask, 20)[0]).toEqual([0, 5]);
  });

  test('every query sees as many keys as the window has', () => {
    expect(areaAt(neighborhood({ grid: [6, 7, 8], window: [2, 3, 4], stride: [2, 1, 3] }), square(336))).toBe(336 * 24);
    expect(areaAt(neighborhood({ grid: [8, 9], window: [3, 4], dilation: 2 }), square(72))).toBe(72 * 12);
  });

  test('axes are independent', () => {
    const mask = neighborhood({ grid: [6, 7], window: [3, 4], causal: [true, false] });
    const [lines, columns] = [
      neighborhood({ grid: [6], window: 3, causal: true }),
      neighborhood({ grid: [7], window: 4 }),
    ];
    for (let i = 0; i < 42; i++) {
      for (let j = 0; j < 42; j++) {
        const expected =
          lines.sees(Math.floor(i / 7), Math.floor(j / 7), square(6)) && columns.sees(i % 7, j % 7, square(7));
        expect(mask.sees(i, j, square(42))).toBe(expected);
      }
    }
  });
});

describe('arrangement', () => {
  test.each<[NeighborhoodParams, queries: number[], keys: number[]]>([
    [{ grid: [50], window: 5, dilation: 2 }, [24], [6]],
    [{ grid: [9, 14], window: 5 }, [4, 6], [2, 3]],
    [{ grid: [5, 7, 9], window: 3 }, [2, 3, 4], [1, 2, 3]],
    [{ grid: [11, 13], window: [5, 2], dilation: [2, 3] }, [4, 6], [2, 3]],
  ])('%j: runs of 24 queries and of 6 keys are tiles of space', (params, queryTile, keyTile) => {
    const { grid, dilation = 1 } = params;
    const dilations = typeof dilation === 'number' ? grid.map(() => dilation) : dilation;
    const { queries, keys } = arranged(neighborhood(params), square(product(grid)));
    for (const [slots, tile] of [
      [queries, queryTile],
      [keys, keyTile],
    ] as const) {
      for (let first = 0; first < slots.length; first += product(tile)) {
        const tokens = Array.from(slots.subarray(first, first + product(tile))).filter((token) => token !== -1);
        expect(tokens).toEqual(tokensOfTile(tokens[0] as number, grid, dilations, tile));
      }
    }
  });

  test('tiles next to each other on the last axis follow one another', () => {
    const { keys } = arranged(neighborhood({ grid: [4, 9], window: 3 }), square(36));
    const corners = span(0, 6).map((tile) => keys[tile * 6]);
    expect(corners).toEqual([0, 3, 6, 18, 21, 24]);
  });

  test('permuting and back is the identity', () => {
    const { queries, keys } = arranged(neighborhood({ grid: [7, 11], window: 4, dilation: [1, 2] }), square(77));
    for (const slots of [queries, keys]) {
      const values = Float64Array.from({ length: 77 }, (_, token) => token * 1.5);
      const permuted = Array.from(slots, (token) => (token === -1 ? Number.NaN : (values[token] as number)));
      const back = new Float64Array(77);
      slots.forEach((token, slot) => {
        if (token !== -1) back[token] = permuted[slot] as number;
      });
      expect(back).toEqual(values);
    }
  });

  test('few tiles are visited: those that the window of the tile touches', () => {
    const mask = neighborhood({ grid: [32, 48], window: [8, 12] });
    const tokens = 32 * 48;
    const arrangement = arranged(mask, square(tokens));
    // The windows of an inner tile of 4 x 6 queries cover 11 x 17 keys: 6 or 7 tiles by 6 or 7.
    const tile = arrangement.queries.indexOf(12 * 48 + 24);
    const { starts, words } = arrangement.words(tile, 24, square(tokens));
    const panels = new Set<number>();
    starts.forEach((start, at) => {
      if (words[at] === 0) return;
      for (let key = start; key < (starts[at + 1] as number); key++) panels.add(Math.floor(key / 6));
    });
    expect(panels.size).toBeGreaterThanOrEqual(Math.ceil((11 * 17) / 6));
    expect(panels.size).toBeLessThanOrEqual(7 * 7);
  });

  test.each([
    ['which share a window', { grid: [32, 72], window: [8, 12], stride: [8, 12] }, 4, [8, 12]],
    ['whose windows overlap most', { grid: [64, 96], window: [16, 24] }, 16, [16, 24]],
    ['in one stride, on a grid of odd extents', { grid: [40, 36], window: [12, 18], stride: [8, 12] }, 4, [8, 12]],
  ] as const)('tiles of queries follow those %s', (_, params, tiles, extents) => {
    const { queries } = arranged(neighborhood(params), square(params.grid[0] * params.grid[1]));
    for (let slot = 0; slot < queries.length; slot += tiles * 24) {
      const tokens = Array.from(queries.subarray(slot, slot + tiles * 24));
      const spans = [(token: number) => Math.floor(token / params.grid[1]), (token: number) => token % params.grid[1]];
      const along = spans.map((span) => Math.max(...tokens.map(span)) - Math.min(...tokens.map(span)) + 1);
      expect(along).toEqual(extents);
    }
  });

  test('padding moves the tiles of keys, so that windows start with them', () => {
    const tiles = { queries: [4, 6], keys: [2, 3], padding: [1, 2] };
    const { keys } = arranged(neighborhood({ grid: [5, 7], window: 3 }, tiles), square(35));
    expect(Array.from(keys.subarray(0, 12))).toEqual([-1, -1, -1, -1, -1, 0, -1, -1, -1, 1, 2, 3]);
    expect(Array.from(keys).filter((token) => token !== -1)).toHaveLength(35);
  });

  test('along one axis without dilation there is none: tokens are in order', () => {
    expect(neighborhood({ grid: [20], window: 5 }).arrange).toBeUndefined();
  });

  test('tiles of any shape see the same', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 6, maxLength: 6 }), ([a, b, c, d, x, y]) => {
        const tiles = { queries: [a, b], keys: [c, d], padding: [x! - 1, y! - 1] } as TileShapes;
        const mask = neighborhood({ grid: [8, 9], window: 3, stride: 2 }, tiles);
        const arrangement = arranged(mask, square(72));
        let pairs = 0;
        for (let first = 0; first < arrangement.queries.length; first += 24) {
          const count = Math.min(24, arrangement.queries.length - first);
          pairs += arrangement.words(first, count, square(72)).count();
        }
        expect(pairs).toBe(72 * 9);
      }),
    );
  });
});

test('names tell masks apart', () => {
  expect(neighborhood({ grid: [8, 9], window: 3 }).name).toBe('neighborhood 3x3 of 8x9');
  expect(neighborhood({ grid: [8, 9], window: [3, 4], stride: [1, 2], dilation: 2, causal: [false, true] }).name).toBe(
    'neighborhood 3x4 of 8x9 stride 1x2 dilation 2x2 causal on axis 1',
  );
  expect(neighborhood({ grid: [8, 9], window: 3 }, { queries: [2, 3], keys: [3, 2] }).name).toBe(
    'neighborhood 3x3 of 8x9 tiles 2x3 by 3x2',
  );
  expect(neighborhood({ grid: [8, 9], window: 3 }, { queries: [2, 3], keys: [3, 2], padding: [0, 1] }).name).toBe(
    'neighborhood 3x3 of 8x9 tiles 2x3 by 3x2 padded 0x1',
  );
  expect(neighborhood({ grid: [8, 9], window: 3 })).toBe(neighborhood({ grid: [8, 9], window: [3, 3] }));
});

test.each<[NeighborhoodParams, string]>([
  [{ grid: 16 as unknown as number[], window: 3 }, 'grid must be a list of 1 to 3 axes, got 16'],
  [{ grid: [], window: 3 }, 'grid must have 1 to 3 axes, got 0'],
  [{ grid: [4, 4, 4, 4], window: 3 }, 'grid must have 1 to 3 axes, got 4'],
  [{ grid: [8, 8], window: [3] }, 'window must be one value or one for each of the 2 axes, got 1'],
  [{ grid: [8, 8], window: [3, 9] }, 'window on axis 1 must be an integer from 2 to 8'],
  [{ grid: [8, 8], window: 3, causal: [true, false, true] }, 'causal must be one value or one for each of the 2 axes'],
  [{ grid: [8, 8], window: 3, causal: 'no' as unknown as boolean }, "causal on axis 0 must be true or false, got 'no'"],
])('%j is refused', (params, message) => {
  expect(() => neighborhood(params)).toThrow(message);
});

test('tiles of another rank, and other numbers of tokens are refused', () => {
  expect(() => neighborhood({ grid: [8, 8], window: 3 }, { queries: [24], keys: [2, 3] })).toThrow(
    'queries of tiles must be 2 integers >= 1, got [24]',
  );
  expect(() => neighborhood({ grid: [8, 8], window: 3 }, { queries: [4, 6], keys: [0, 3] })).toThrow(
    'keys of tiles must be 2 integers >= 1, got [0, 3]',
  );
  expect(() => neighborhood({ grid: [8, 8], window: 3 }, { queries: [4, 6], keys: [2, 3], padding: [0, -1] })).toThrow(
    'padding of key tiles must be 2 integers >= 0, got [0, -1]',
  );
  expect(() => neighborhood({ grid: [8, 8], window: 3 }).check?.(square(63))).toThrow(
    'mask "neighborhood 3x3 of 8x8" needs 64 queries and as many keys, got 63 queries and 63 keys',
  );
  expect(() => and(causal(), neighborhood({ grid: [8, 8], window: 3 })).check?.(square(63))).toThrow(
    'needs 64 queries',
  );
});

/** The tokens of the tile that begins with `first`, row by row: neighbours at the distance of the dilations. */
function tokensOfTile(
  first: number,
  grid: readonly number[],
  dilations: readonly number[],
  tile: readonly number[],
): number[] {
  let tokens = [0];
  let rest = first;
  let size = 1;
  for (let axis = grid.length - 1; axis >= 0; axis--) {
    const [length, dilation, extent] = [grid[axis], dilations[axis], tile[axis]] as [number, number, number];
    const corner = rest % length;
    rest = Math.floor(rest / length);
    const along = span(0, extent)
      .map((at) => corner + at * dilation)
      .filter((x) => x < length);
    const inner = tokens;
    const step = size;
    tokens = along.flatMap((x) => inner.map((token) => token + x * step));
    size *= length;
  }
  return tokens;
}
