import { describe, expect, test } from 'vitest';
import { areaAt } from './area';
import {
  causal,
  dilatedBlocks,
  full,
  longNet,
  type Mask,
  oneHead,
  power,
  powersOfTwo,
  slidingBlocks,
  strideSlash,
} from './index';

const sliding = slidingBlocks({ block: 1, window: 9 });
const stride = (step: number) => strideSlash({ block: 1, window: 6, stride: step });
const dilated20 = dilatedBlocks({ block: 1, reach: 20, step: 2 });
const published = power({ block: 1, window: 5 });

/** How many keys the last of n queries reaches through one layer, two, ... until it is no more. */
function reach(mask: Mask, n: number): number[] {
  let reached = new Set([n - 1]);
  const sizes: number[] = [];
  while (true) {
    const next = new Set<number>();
    for (const i of reached) {
      for (let j = 0; j < n; j++) if (mask.sees(i, j, oneHead(n, n))) next.add(j);
    }
    if (next.size === sizes.at(-1)) return sizes;
    sizes.push(next.size);
    reached = next;
  }
}

describe('reach of the last of 128 blocks, layer by layer', () => {
  test.each<[string, Mask, number[]]>([
    ['power', published, [10, 35, 75, 110, 126, 128]],
    ['sliding', sliding, [10, 18, 26, 34, 42, 50, 58, 66, 74, 82, 90, 98, 106, 114, 122, 128]],
    ['stride 32', stride(32), [10, 30, 50, 70, 90, 110, 126, 128]],
    ['stride 40', stride(40), [10, 30, 46, 61, 76, 91, 106, 120, 128]],
    ['dilated', dilated20, [10, 19, 28, 37, 46, 55, 64]],
    ['LongNet', longNet(), [8, 20, 41, 58, 75, 80]],
    ['power without sink', power({ block: 1, window: 5, sink: 0 }), [9, 34, 74, 109, 125, 128]],
    ['powers of two', powersOfTwo(), [8, 29, 64, 99, 120, 127, 128]],
  ])('%s', (_, mask, sizes) => {
    expect(reach(mask, 128)).toEqual(sizes);
  });

  test.each([
    [64, [8, 26, 48, 61, 64]],
    [256, [10, 43, 108, 183, 234, 253, 256]],
  ])('power without sink, %i blocks', (blocks, sizes) => {
    expect(reach(power({ block: 1, window: 5, sink: 0 }), blocks)).toEqual(sizes);
  });
});

test.each<[string, Mask, number, number]>([
  ['power', published, 0.138, 0.07],
  ['sliding', sliding, 0.15, 0.075],
  ['dilated', dilated20, 0.144, 0.073],
  ['stride 32', stride(32), 0.129, 0.065],
  ['LongNet', longNet(), 0.099, 0.05],
])('density of %s', (_, mask, ofTriangle, ofSquare) => {
  const seen = areaAt(mask, oneHead(128, 128));
  expect(seen / ((128 * 129) / 2)).toBeCloseTo(ofTriangle, 3);
  expect(seen / (128 * 128)).toBeCloseTo(ofSquare, 3);
});

test('rows at the level of tokens, window 1', () => {
  const rows = Array.from({ length: 6 }, (_, i) => power({ block: 1, window: 1 }).intervals?.(i, oneHead(6, 6)));
  // The last sees itself, 4, 3, 1 and the sink.
  expect(rows).toEqual([
    [0, 1],
    [0, 2],
    [0, 3],
    [0, 4],
    [0, 1, 2, 5],
    [0, 2, 3, 6],
  ]);
});

test('blocks of several tokens are seen whole, but for later tokens of the own one', () => {
  // Blocks 0 to 5; block 5 sees 0 (sink), 1 (distance 4), 3 (2), 4 (1) and itself.
  const place = oneHead(24, 24);
  expect(power({ block: 4, window: 1 }).intervals?.(21, place)).toEqual([0, 8, 12, 22]);
});

test.each<[string, Mask]>([
  ['a window of all blocks', power({ block: 4, window: 10 })],
  ['one block', power({ block: 40, window: 1 })],
  ['three blocks', power({ block: 14, window: 1 })],
])('%s: causal', (_, mask) => {
  expect(areaAt(mask, oneHead(40, 40))).toBe(areaAt(causal(), oneHead(40, 40)));
});

test('LongNet is the bitwise formula of the paper', () => {
  const mask = longNet();
  const place = oneHead(300, 300);
  for (let q = 0; q < 300; q++) {
    for (let k = 0; k <= q; k++) {
      const [o, x] = [q | k, q ^ k];
      const expected =
        x < 8 ||
        (x < 16 && (o & 1) === 0) ||
        (x < 32 && (o & 3) === 0) ||
        (x < 64 && (o & 7) === 0) ||
        (x < 128 && (o & 15) === 0);
      expect(mask.sees(q, k, place)).toBe(expected);
    }
  }
});

test('one level without dilation is causal blocks on the diagonal', () => {
  const mask = longNet({ levels: [{ segment: 10, dilation: 1 }] });
  expect(areaAt(mask, oneHead(40, 40))).toBe(4 * 55);
  expect(areaAt(longNet({ levels: [{ segment: 40, dilation: 1 }] }), oneHead(40, 40))).toBe((40 * 41) / 2);
});

test('fewer queries than keys are the last of them', () => {
  for (const mask of [published, longNet({ block: 3 }), strideSlash({ block: 3, window: 2, stride: 4 }), full()]) {
    for (let i = 0; i < 5; i++) {
      expect(mask.intervals?.(i, oneHead(5, 50))).toEqual(mask.intervals?.(45 + i, oneHead(50, 50)));
    }
  }
});
