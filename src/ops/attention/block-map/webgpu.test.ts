import fc from 'fast-check';
import { expect, test } from 'vitest';
import { band } from '../../../masks/band';
import { documents, neighborhood } from '../../../masks/index';
import { type Extent, type Mask, oneHead, type Place, placesOf } from '../../../masks/mask';
import { atOnce } from '../../../runtime/turns';
import { type Side, type TileCut, type TileMap, tileMap } from './webgpu';

/** How often each pair [n, m] of a row occurs in the map, read as the kernels read it. */
function timesSeen(map: TileMap, side: Side, row: number): Uint8Array {
  const { words, parts, cut, numbers } = map;
  const at = (place: number) => words[place] as number;
  const slot = (section: number, place: number, extent: number) =>
    section > 0 ? at(section + place) : place < extent ? place : -1;

  const { map_owners, map_order, map_spans, map_runs, map_patterns, map_queries, map_keys, map_n, map_m } =
    numbers as Record<string, number> as Record<`map_${string}`, number>;
  const seen = new Uint8Array(map_n! * map_m!);
  for (let place = 0; place < map_owners!; place++) {
    const owner = at(map_order! + at(row) * map_owners! + place);
    const span = map_spans! + 3 * (at(row) * map_owners! + owner);
    let others = 0;
    for (let run = at(span); run < at(span + 1); run++) {
      const begin = map_runs! + (2 + parts) * run;
      for (let other = at(begin); other < at(begin + 1); other++) {
        others++;
        const [tile, panel] = side === 'queries' ? [owner, other] : [other, owner];
        for (let r = 0; r < cut.queries; r++) {
          const pattern = at(begin + 2 + Math.floor(r / 32));
          for (let c = 0; c < cut.keys; c++) {
            const query = slot(map_queries!, tile * cut.queries + r, map_n!);
            if (pattern < 0 || query < 0 || !((at(map_patterns! + pattern * cut.keys + c) >> (r % 32)) & 1)) continue;
            const key = slot(map_keys!, panel * cut.keys + c, map_m!);
            if (key < 0) throw new Error(`query ${query} sees a key that is not there`);
            seen[query * map_m! + key]!++;
          }
        }
      }
    }
    expect(others).toBe(at(span + 2));
  }
  return seen;
}

function expectSame(mask: Mask, extent: Extent, cut: TileCut): void {
  for (const side of ['queries', 'keys'] as const) {
    const map = atOnce(tileMap(mask, extent, cut, side));
    let row = 0;
    for (const place of placesOf(extent)) {
      const expected = new Uint8Array(extent.n * extent.m);
      for (let i = 0; i < extent.n; i++) {
        for (let j = 0; j < extent.m; j++) if (mask.sees(i, j, place)) expected[i * extent.m + j] = 1;
      }
      expect(Buffer.compare(timesSeen(map, side, row++), expected)).toBe(0);
    }
  }
}

const cuts = fc.record({
  queries: fc.constantFrom(1, 8, 24, 32, 64, 96, 128),
  keys: fc.constantFrom(1, 8, 12, 32, 64),
});
const length = fc.integer({ min: 1, max: 300 });
const reach = fc.oneof(fc.constant(-1), fc.nat({ max: 120 }));

test('both sides hold what the mask sees, each pair once, for any tile and panel', () => {
  fc.assert(
    fc.property(length, length, reach, reach, cuts, (n, m, left, right, cut) => {
      expectSame(band(left, right), { b: 1, n, m, h: 1, g: 1 }, cut);
    }),
    { numRuns: 60 },
  );
});

test.each([
  ['documents', documents(Int32Array.from({ length: 200 }, (_, i) => Math.floor(i / 37))), 200],
  ['an arrangement', neighborhood({ grid: [9, 13], window: [3, 5] }), 117],
  [
    'one whose tiles of keys are padded',
    neighborhood({ grid: [9, 13], window: 5 }, { queries: [12, 2], keys: [3, 2], padding: [2, 1] }),
    117,
  ],
  [
    'heads that differ',
    {
      name: 'heads that differ',
      sees: (i: number, j: number, { head }: Place) => (i + head) % 3 === j % 3,
      intervals: (i: number, { head, m }: Place) => {
        const runs: number[] = [];
        for (let j = (i + head) % 3; j < m; j += 3) runs.push(j, j + 1);
        return runs;
      },
      variant: ({ head }: Place) => head % 3,
    } as Mask,
    70,
  ],
])('and for %s', (_, mask, n) => {
  for (const cut of [
    { queries: 8, keys: 8 },
    { queries: 64, keys: 32 },
  ])
    expectSame(mask, { b: 2, n, m: n, h: 2, g: 1 }, cut);
});

test('a full tile of a few parts is full to its end, however few queries it has', () => {
  const { words, numbers, parts } = atOnce(tileMap(band(-1, -1), oneHead(70, 64), { queries: 64, keys: 32 }));
  expect(parts).toBe(2);
  const runs = words.subarray(numbers.map_runs, numbers.map_patterns);
  expect([...runs]).toEqual([0, 2, 0, 0, 0, 2, 0, 0]);
});

test('a sliding mask needs few runs and patterns, whatever the length', () => {
  const sizeOf = (n: number) => atOnce(tileMap(band(255, 0), oneHead(n, n), { queries: 64, keys: 64 }));
  const [short, long] = [sizeOf(4096), sizeOf(65_536)];
  const patterns = ({ words }: TileMap, { map_patterns = 0 }) => words.length - map_patterns;
  expect(patterns(long, long.numbers)).toBe(patterns(short, short.numbers));
  expect(long.words.length / long.owners).toBeLessThan(30);
});
