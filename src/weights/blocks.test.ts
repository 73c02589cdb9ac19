import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normal } from '../tensor/random';
import { BLOCKS, decodeBlocks } from './blocks';
import { type EncodedType, encodeBlocks } from './encode-blocks';
import type { BlockType } from './stored';

/** f16 of 1, 0.5 and 2: the bytes of scales. */
const [ONE, HALF, TWO] = [
  [0, 0x3c],
  [0, 0x38],
  [0, 0x40],
] as const;

/** By hand: what some bytes of a block are, the others 0, and the numbers they give, the others `rest`. */
const EXAMPLES: readonly [
  BlockType,
  bytes: Record<number, number | readonly number[]>,
  numbers: Record<number, number>,
  rest: number,
][] = [
  ['q8_0', { 0: HALF, 2: 0x80, 33: 3 }, { 0: -64, 31: 1.5 }, 0],
  ['q4_0', { 0: HALF, 3: 0xf1 }, { 1: -3.5, 17: 3.5 }, -4],
  ['q4_1', { 0: HALF, 2: TWO, 4: 0xf1 }, { 0: 2.5, 16: 9.5 }, 2],
  ['q5_0', { 0: HALF, 3: 0x80, 5: 0x80, 21: 0x21 }, { 15: 0.5, 31: 1 }, -8],
  ['q5_1', { 0: TWO, 2: ONE, 4: 1, 6: 4, 8: 0x21 }, { 0: 35, 16: 5, 18: 33 }, 1],
  // Group 1: scale 3, minimum 5 at full; group 6: scale 16 * 2 + 7, minimum 16 * 1 + 2.
  [
    'q4_k',
    { 0: HALF, 2: ONE, 4: [0, 3, 0x80], 8: [0, 5, 0x40], 12: [0, 0, 0x27], 16: 0x40, 112: 0x0f },
    {
      ...range(32, 64, -5),
      32: 1,
      ...range(192, 224, -18),
      192: 0.5 * 39 * 15 - 18,
    },
    0,
  ],
  // Fifths of group j are bits j.
  [
    'q5_k',
    { 0: HALF, 2: ONE, 4: [0, 3], 8: [0, 5], 16: 0b10, 17: 0b01, 48: 0x40 },
    { ...range(32, 64, -5), 32: 25 },
    0,
  ],
  // Scales: group 1 (numbers 16 to 31) 2, group 15 (240 to 255) -1.
  [
    'q6_k',
    { 208: HALF, 193: 2, 207: 0xff, 16: 0x0f, 127: 0x30, 144: 0x02, 191: 0xc0 },
    { ...range(16, 32, -32), 16: 15, ...range(240, 256, 16), 255: -0.5 * (0x33 - 32) },
    0,
  ],
];

function range(from: number, to: number, value: number): Record<number, number> {
  return Object.fromEntries(Array.from({ length: to - from }, (_, at) => [from + at, value]));
}

test.each(EXAMPLES)('%s decodes by hand', (type, given, numbers, rest) => {
  const bytes = new Uint8Array(2 * BLOCKS[type].bytes);
  for (const [at, value] of Object.entries(given)) bytes.set([value].flat(), Number(at) + BLOCKS[type].bytes);
  const expected = new Float32Array(2 * BLOCKS[type].numbers);
  for (let at = 0; at < BLOCKS[type].numbers; at++) expected[BLOCKS[type].numbers + at] = numbers[at] ?? rest;
  expect(decodeBlocks(type, bytes).map((value) => value + 0)).toEqual(expected);
});

test('scales that are no numbers, and blocks cut short, are refused', () => {
  const bytes = new Uint8Array(288);
  bytes.set([0, 0x7c], 146);
  expect(() => decodeBlocks('q4_k', bytes)).toThrow('block 1 of q4_k has a scale that is Infinity');
  bytes.set([1, 0xfe], 146);
  expect(() => decodeBlocks('q4_k', bytes)).toThrow('block 1 of q4_k has a scale that is NaN');
  expect(() => decodeBlocks('q8_0', bytes)).toThrow('q8_0 has blocks of 34 bytes, got 288 bytes');
});

/** Largest root mean square error of normal numbers, as a share of theirs. */
const ERRORS: Record<EncodedType, number> = { q8_0: 0.006, q4_0: 0.083, q4_1: 0.073, q4_k: 0.074 };

describe.each(Object.entries(ERRORS) as [EncodedType, number][])('%s', (type, most) => {
  test('rounds normal numbers with a small error', () => {
    const x = normal(8192, 3).map((value) => 0.02 * value);
    const y = decodeBlocks(type, encodeBlocks(type, x));
    const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
    expect(Math.sqrt(square(x.map((value, at) => value - (y[at] as number))) / square(x))).toBeLessThan(most);
  });

  test('numbers that blocks hold exactly stay as they are', () => {
    const { numbers } = BLOCKS[type];
    const step = 63 / 256;
    const codes = Float32Array.from({ length: numbers }, (_, at) => step * ((at % 16) - 8));
    if (type === 'q8_0') codes.set([(127 * 63) / 256]);
    expect(decodeBlocks(type, encodeBlocks(type, codes))).toEqual(codes);
    const zeros = new Float32Array(numbers);
    expect(decodeBlocks(type, encodeBlocks(type, zeros))).toEqual(zeros);
  });

  test('is within a code of any numbers', () => {
    const { numbers } = BLOCKS[type];
    const any = fc.float32Array({ minLength: numbers, maxLength: numbers, min: -60_000, max: 60_000, noNaN: true });
    fc.assert(
      fc.property(any, (x) => {
        const most = x.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
        const y = decodeBlocks(type, encodeBlocks(type, x));
        for (const [at, value] of x.entries())
          expect(Math.abs(value - (y[at] as number))).toBeLessThanOrEqual(most * 0.3 + 1e-6);
      }),
      { numRuns: 30 },
    );
  });

  test('refuses what it cannot hold', () => {
    const { numbers } = BLOCKS[type];
    expect(() => encodeBlocks(type, new Float32Array(31))).toThrow(`${type} has blocks of ${numbers} numbers, got 31`);
    const x = new Float32Array(2 * numbers);
    x[numbers + 1] = Number.NaN;
    expect(() => encodeBlocks(type, x)).toThrow(`${type} holds finite numbers, got NaN at element ${numbers + 1}`);
    x[numbers + 1] = 1e30;
    expect(() => encodeBlocks(type, x)).toThrow('a scale must be within f16');
  });
});
