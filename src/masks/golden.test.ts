/** FlexAttention's masks: elements, and tiles full and partly seen, as its block masks count them. */
import { expect, test } from 'vitest';
import { areaAt } from './area';
import {
  type Arrangement,
  and,
  band,
  causal,
  dilated,
  documentIds,
  documents,
  from,
  globalSliding,
  type Mask,
  neighborhood,
  oneHead,
  or,
  prefix,
} from './index';

const fourDocuments = documents(documentIds([100, 200, 300, 424]));

test.each<[name: string, mask: Mask, n: number, m: number, tile: number, counts: [number, number, number]]>([
  ['causal', causal(), 512, 512, 128, [131328, 6, 4]],
  ['causal', causal(), 1024, 1024, 128, [524800, 28, 8]],
  ['causal', causal(), 2048, 2048, 128, [2098176, 120, 16]],
  ['causal, ragged', causal(), 1000, 1000, 128, [500500, 21, 15]],
  ['causal, less than a tile', causal(), 100, 100, 128, [5050, 0, 1]],
  ['sliding 256', band(256, 0), 1024, 1024, 128, [230272, 7, 14]],
  ['sliding 255', band(255, 0), 1024, 1024, 128, [229504, 7, 14]],
  ['prefix 300', or(causal(), prefix(300)), 1024, 1024, 128, [569650, 31, 8]],
  ['causal documents', and(causal(), fourDocuments), 1024, 1024, 128, [160400, 3, 17]],
  ['documents', fourDocuments, 1024, 1024, 128, [319776, 11, 21]],
  ['dilated', dilated(64, 2), 512, 512, 64, [31168, 0, 22]],
  ['a global token and a window', globalSliding(64, 1), 1024, 1024, 128, [129854, 0, 34]],
  ['neighborhood', neighborhood({ grid: [32, 32], window: 7 }), 1024, 1024, 64, [50176, 0, 76]],
  ['causal, fewer queries', causal(), 256, 1024, 128, [229504, 13, 2]],
  ['causal from the first key', from((_b, _h, q, k) => q >= k), 256, 1024, 128, [32896, 1, 2]],
  ['block diffusion', blockDiffusion(256, 16), 512, 512, 64, [69632, 12, 12]],
])('%s', (_, mask, n, m, tile, [elements, full, partial]) => {
  expect(areaAt(mask, oneHead(n, m))).toBe(elements);
  const order = (count: number) => Array.from({ length: count }, (_, at) => at);
  expect(tileCounts(mask, order(n), order(m), tile)).toEqual([full, partial]);
});

/** A mask over `length` noised tokens and then as many clean ones, in blocks. */
function blockDiffusion(length: number, block: number): Mask {
  return from(
    (_b, _h, q, k, { length, block }) => {
      const own = Math.floor((q % length) / block);
      const other = Math.floor((k % length) / block);
      const isSame = own === other && q >= length === k >= length;
      return isSame || (k >= length && (q >= length ? own >= other : own > other));
    },
    { length, block },
  );
}

test('a neighborhood in the order of a Morton curve', () => {
  const bits = [0, 1, 2, 3, 4];
  const order = Array.from({ length: 1024 }, (_, at) => {
    const axis = (first: number) => bits.reduce((sum, bit) => sum + (((at >> (2 * bit + first)) & 1) << bit), 0);
    return 32 * axis(1) + axis(0);
  });
  expect(tileCounts(neighborhood({ grid: [32, 32], window: 7 }), order, order, 64)).toEqual([0, 100]);
});

test('a neighborhood in tiles of 8 x 8 tokens', () => {
  const tile = [8, 8];
  const mask = neighborhood({ grid: [32, 32], window: 7 }, { queries: tile, keys: tile });
  const { queries, keys } = (mask.arrange as NonNullable<Mask['arrange']>)(oneHead(1024, 1024)) as Arrangement;
  expect(tileCounts(mask, queries, keys, 64)).toEqual([0, 100]);
});

/** Full and partial tiles; short tiles at the ends are never full. */
function tileCounts(mask: Mask, queries: ArrayLike<number>, keys: ArrayLike<number>, tile: number): [number, number] {
  const place = oneHead(queries.length, keys.length);
  let [full, partial] = [0, 0];
  for (let first = 0; first < queries.length; first += tile) {
    const counts = new Array<number>(Math.ceil(keys.length / tile)).fill(0);
    for (let i = first; i < Math.min(queries.length, first + tile); i++) {
      for (let j = 0; j < keys.length; j++) {
        if (mask.sees(queries[i] as number, keys[j] as number, place)) counts[Math.floor(j / tile)]!++;
      }
    }
    full += counts.filter((count) => count === tile * tile).length;
    partial += counts.filter((count) => count > 0 && count < tile * tile).length;
  }
  return [full, partial];
}
