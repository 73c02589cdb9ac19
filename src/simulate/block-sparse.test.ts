import { expect, test } from 'vitest';
import { groupWindow, type NeighborhoodAxis } from '../masks/neighborhood-axis';
import { isBlockSparse } from './block-sparse';
import type { Tiling } from './tile-counts';

const axis = (length: number, window: number, stride: number): NeighborhoodAxis => ({
  length,
  window,
  stride,
  dilation: 1,
  causal: false,
});

const rule = (given: NeighborhoodAxis, queryTile: number, keyTile: number, tiling: Tiling = 'static') =>
  isBlockSparse([given], { queryTile: [queryTile], keyTile: [keyTile], tiling });

/** The definition: queries of a tile share a window, which takes whole key tiles (the axis may end within one). */
function seesTilesWhole(given: NeighborhoodAxis, queryTile: number, keyTile: number): boolean {
  const { length } = given;
  for (let i = 0; i < length; i++) {
    const [start, end] = groupWindow(given, i, length);
    if (start % keyTile !== 0 || (end % keyTile !== 0 && end !== length)) return false;
    const [first, past] = groupWindow(given, Math.floor(i / queryTile) * queryTile, length);
    if (first !== start || past !== end) return false;
  }
  return true;
}

/** Every axis of up to 48 tokens with tiles of these sizes: settings that are wrongly recognised, and missed. */
function compareWithDefinition(sizes: readonly number[]): { wrong: number; missed: number } {
  let [wrong, missed] = [0, 0];
  for (let length = 2; length <= 48; length++) {
    for (let window = 2; window <= length; window++) {
      for (let stride = 1; stride <= window; stride++) {
        for (const queryTile of sizes) {
          for (const keyTile of sizes) {
            const given = axis(length, window, stride);
            const [isRecognised, isTrue] = [rule(given, queryTile, keyTile), seesTilesWhole(given, queryTile, keyTile)];
            if (isRecognised && !isTrue) wrong++;
            if (isTrue && !isRecognised) missed++;
          }
        }
      }
    }
  }
  return { wrong, missed };
}

test('what is recognised is true, and little is missed', () => {
  expect(compareWithDefinition([2, 4, 8])).toEqual({ wrong: 0, missed: 495 });
});

test('odd tiles too, where the rule of the kernels alone would be wrong', () => {
  expect(compareWithDefinition([1, 3, 6]).wrong).toBe(0);
  // Of 5 tokens the last query's window is 1 to 4, across two key tiles of 2.
  expect(rule(axis(5, 4, 1), 1, 2)).toBe(false);
});

test('dynamic tiling asks for whole tiles only', () => {
  expect(rule(axis(48, 8, 4), 4, 4)).toBe(false);
  expect(rule(axis(48, 8, 4), 4, 4, 'dynamic')).toBe(true);
  expect(rule(axis(48, 8, 2), 4, 4, 'dynamic')).toBe(false);
  expect(rule(axis(48, 6, 4), 4, 4, 'dynamic')).toBe(false);
});

test('a causal axis needs its mask, a flattened grid too unless everything is seen', () => {
  expect(rule({ ...axis(48, 48, 48), causal: true }, 4, 4)).toBe(false);
  const flat = { queryTile: [4], keyTile: [4], tiling: 'static' } as const;
  expect(isBlockSparse([axis(16, 8, 8), axis(16, 8, 8)], flat)).toBe(false);
  expect(isBlockSparse([axis(16, 16, 1), axis(16, 16, 1)], flat)).toBe(true);
});

test('every dilation group must fit', () => {
  // Groups of 8 and 8 tokens, then of 9 and 8: the last window of 9 starts within a tile.
  expect(rule({ ...axis(16, 4, 4), dilation: 2 }, 4, 4)).toBe(true);
  expect(rule({ ...axis(17, 4, 4), dilation: 2 }, 4, 4)).toBe(false);
});
