import fc from 'fast-check';
import { expect, test } from 'vitest';
import { band, causal } from '../../../masks/band';
import { KeyWords, keyWords } from '../../../masks/key-words';
import { type Extent, type Mask, oneHead, type Place, placesOf } from '../../../masks/mask';
import { PANEL, TILE } from '../../../runtime/cpu/params';
import { atOnce } from '../../../runtime/turns';
import { PATTERN_LENGTH } from '../params';
import { type BlockMap, RUN_LENGTH } from './block-map';
import { blockMap, blockMapSteps } from './cpu';

const one = (n: number, m: number): Extent => ({ b: 1, n, m, h: 1, g: 1 });

/** The pairs, at most three, on which the map and the mask differ. */
function differences(map: BlockMap, head: number, mask: Mask, place: Place): string[] {
  const byMap = seesByMap(map, head);
  const found: string[] = [];
  for (let i = 0; i < place.n; i++) {
    for (let j = 0; j < place.m; j++) if (byMap(i, j) !== mask.sees(i, j, place)) found.push(`${i},${j}`);
  }
  return found.slice(0, 3);
}

/** Whether query i of a head sees key j by the map: the pattern of its panel, or nothing. */
function seesByMap(map: BlockMap, head: number): (i: number, j: number) => boolean {
  const seen = new Set<string>();
  const which = map.maps[head] as number;
  for (let tile = 0; tile < map.tiles; tile++) {
    const [first, count] = map.tileRuns.slice(2 * (which * map.tiles + tile)) as unknown as [number, number];
    for (let run = first; run < first + count; run++) {
      const [from, past, pattern] = map.runs.slice(RUN_LENGTH * run) as unknown as [number, number, number];
      for (let slot = from * PANEL; slot < past * PANEL; slot++) {
        const word = map.patterns[pattern * PATTERN_LENGTH + (slot % PANEL)] as number;
        for (let r = 0; r < TILE; r++) {
          const query = map.queries ? map.queries[tile * TILE + r] : tile * TILE + r;
          const key = map.keys ? map.keys[slot] : slot;
          if ((word >> r) & 1) seen.add(`${query},${key}`);
        }
      }
    }
  }
  return (i, j) => seen.has(`${i},${j}`);
}

/** Every third key, without a closed form, differently in each head. */
const everyThird: Mask = {
  name: 'every third',
  sees: (i, j, { head }) => (i + j + head) % 3 === 0,
  variant: ({ head }) => head % 3,
  words(queries, { m, head }) {
    const result = new KeyWords();
    for (let j = 0; j < m; j++) {
      let word = 0;
      for (let r = 0; r < queries.length; r++) if (((queries[r] as number) + j + head) % 3 === 0) word |= 1 << r;
      result.push(j, word);
    }
    result.push(m, 0);
    return result;
  },
};

const length = fc.integer({ min: 1, max: 150 });
const reach = fc.oneof(fc.constant(-1), fc.nat({ max: 80 }));

test('the map holds what the mask sees, and panels that nobody sees do not occur', () => {
  fc.assert(
    fc.property(length, length, reach, reach, (n, m, left, right) => {
      const mask = band(left, right);
      expect(differences(blockMap(mask, one(n, m)), 0, mask, oneHead(n, m))).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test('heads that see alike share a map', () => {
  const extent: Extent = { b: 2, n: 50, m: 31, h: 4, g: 2 };
  const map = blockMap(everyThird, extent);
  expect([...map.maps]).toEqual([0, 1, 2, 0, 0, 1, 2, 0]);
  let at = 0;
  for (const place of placesOf(extent)) expect(differences(map, at++, everyThird, place)).toEqual([]);
});

test('slots may be any order of queries and keys, with gaps', () => {
  const order = Int32Array.from({ length: 60 }, (_, slot) =>
    slot % 5 === 4 ? -1 : ((slot - Math.floor(slot / 5)) * 7) % 48,
  );
  const scattered: Mask = {
    ...causal(),
    name: 'scattered',
    arrange: () => ({
      queries: order,
      keys: order,
      words(first, count, place: Place) {
        const result = new KeyWords();
        order.forEach((key, slot) => {
          let word = 0;
          for (let r = 0; r < count; r++) {
            const query = order[first + r] as number;
            if (query >= 0 && key >= 0 && causal().sees(query, key, place)) word |= 1 << r;
          }
          result.push(slot, word);
        });
        result.push(order.length, 0);
        return result;
      },
    }),
  };
  expect(differences(blockMap(scattered, one(48, 48)), 0, scattered, oneHead(48, 48))).toEqual([]);
});

test('a pattern of a short tile is not taken for that of a whole one in another head', () => {
  // The last tile of the first head has 18 queries, a full one of the second the same words.
  const mask: Mask = {
    name: 'first keys by head',
    sees: (i, j, { head }) => j < 3 && (head === 1 || i >= 24),
    intervals: (i, { head }) => (head === 1 || i >= 24 ? [0, 3] : []),
    variant: ({ head }) => head,
  };
  const map = blockMap(mask, { b: 1, n: 42, m: 9, h: 2, g: 2 });
  const [, past] = [...map.runs.slice((map.tileRuns[4] as number) * RUN_LENGTH)] as [number, number, number];
  expect(past).toBe(1);
  const whole = map.runs[(map.tileRuns[4] as number) * RUN_LENGTH + 2] as number;
  // Every group of six has a bit of its own.
  expect((map.patterns[whole * PATTERN_LENGTH + PANEL] as number) >> 6).toBe(0b1111);
});

test('tiles whose queries see the same keys in another order differ', () => {
  const mask: Mask = {
    name: 'one key, by turns',
    sees: (i, j) => j === 0 && (i < 24 ? i % 2 === 0 : i % 2 === 1),
    intervals: (i) => ((i < 24 ? i % 2 === 0 : i % 2 === 1) ? [0, 1] : []),
  };
  expect(differences(blockMap(mask, one(48, 1)), 0, mask, oneHead(48, 1))).toEqual([]);
});

test('a mask that sees keys which there are not is refused', () => {
  const near = (name: string, first: number): Mask => ({
    name,
    sees: () => true,
    intervals: (i) => [i + first, i + first + 3],
  });
  expect(() => blockMap(near('beyond', 0), one(48, 48))).toThrow('mask "beyond" must see keys from 0 to 47, got 49');
  expect(() => blockMap(near('before', -1), one(24, 48))).toThrow('mask "before" must see keys from 0 to 47, got -1');
  const words = () => {
    const result = new KeyWords();
    result.push(0, 1);
    result.push(60, 0);
    return result;
  };
  expect(() => blockMap({ name: 'words', sees: () => true, words }, one(24, 48))).toThrow('from 0 to 47, got 59');
});

test('tiles come with the most work first', () => {
  const map = blockMap(causal(), one(240, 240));
  expect([...map.order]).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  expect(map.visited).toBe(4 * (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10));
});

test('tiles of about the same work stay side by side', () => {
  const panels = [8, 3, 7, 1, 5, 0, 2];
  const seen = (i: number) => PANEL * (panels[Math.floor(i / TILE)] as number);
  const mask: Mask = { name: 'uneven', sees: (i, j) => j < seen(i), intervals: (i) => (seen(i) ? [0, seen(i)] : []) };
  expect([...blockMap(mask, one(7 * TILE, 8 * PANEL)).order]).toEqual([4, 2, 0, 1, 6, 5, 3]);
});

test('equal masks share one map, which is small whatever the length', () => {
  expect(blockMap(band(255, 0), one(4096, 4096))).toBe(blockMap(band(255, 0), one(4096, 4096)));
  const map = blockMap(band(255, 0), one(65_536, 65_536));
  expect(map.patterns.length / PATTERN_LENGTH).toBeLessThan(60);
  expect(map.runs.length / RUN_LENGTH / map.tiles).toBeLessThan(12);
});

test('those who ask for a map meanwhile share its building, which goes on as long as one is left', () => {
  const asked: number[] = [];
  const words: Mask['words'] = (queries, place) => {
    asked.push(queries[0] as number);
    if (asked.length === 11) throw new RangeError('once');
    return keyWords(everyThird, queries, place);
  };
  const mask: Mask = { name: 'counted', sees: everyThird.sees, words };
  const extent = one(5 * TILE, 30);
  const tiles = [0, 1, 2, 3, 4].map((tile) => tile * TILE);
  const start = () => blockMapSteps(mask, extent);
  const [first, second, late] = [start(), start(), start()];
  for (const steps of [first, second, first]) expect(steps.next().done).toBe(false);
  expect(asked).toEqual(tiles.slice(0, 3));
  // As one that is cancelled does; when nobody is left, so is the building.
  first.return(undefined as never);
  second.return(undefined as never);
  late.next();
  expect(asked.splice(0)).toEqual([...tiles.slice(0, 3), 0]);

  const other = start();
  other.next();
  late.return(undefined as never);
  const map = atOnce(other);
  expect(asked.splice(0)).toEqual(tiles.slice(1));
  expect(differences(map, 0, mask, oneHead(extent.n, extent.m))).toEqual([]);
  expect(atOnce(start())).toBe(map);
  expect(asked).toEqual([]);

  // What fails, fails for all, and is tried again.
  asked.push(...new Array(8).fill(0));
  const failing = [1, 2].map(() => blockMapSteps(mask, one(extent.n, 31)));
  for (const steps of failing) steps.next();
  for (const steps of failing) expect(() => atOnce(steps)).toThrow('once');
  expect(atOnce(blockMapSteps(mask, one(extent.n, 31))).tiles).toBe(5);
});
