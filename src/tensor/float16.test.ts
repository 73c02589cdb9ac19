import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromBfloat16, fromBfloat16s, fromFloat16, fromFloat16s, toBfloat16, toFloat16 } from './float16';

interface Float16Constructor {
  new (buffer: ArrayBuffer): { [index: number]: number };
}
/** The engine's own half-precision numbers, the oracle of these tests. */
const { Float16Array } = globalThis as unknown as { Float16Array: Float16Constructor };

const halfBits = new Uint16Array(1);
const half = new Float16Array(halfBits.buffer);
const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

const everyHalf = Array.from({ length: 65536 }, (_, bits) => bits);

function nativeFloat16(value: number): number {
  half[0] = value;
  return halfBits[0] as number;
}

/** The bfloat16 nearest to `value` among all that there are; of two as near, the even one. */
function nearestBfloat16(value: number): number {
  const magnitude = Math.abs(value);
  let low = 0;
  let high = 0x7f80;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fromBfloat16(middle) <= magnitude) low = middle;
    else high = middle;
  }
  // Infinity takes part as the number that would follow the largest.
  const above = high === 0x7f80 ? 2 ** 128 : fromBfloat16(high);
  const [toLow, toHigh] = [magnitude - fromBfloat16(low), above - magnitude];
  const nearest = toLow < toHigh || (toLow === toHigh && low % 2 === 0) ? low : high;
  return nearest | (value < 0 || Object.is(value, -0) ? 0x8000 : 0);
}

/** Numbers where rounding is hard: near the middle between two halves, near the ends of the range. */
const hardValues = (values: number[]) =>
  values.flatMap((value, i) => {
    const middle = (value + (values[i + 1] ?? value)) / 2;
    return [middle, middle * (1 + 2 ** -40), middle * (1 - 2 ** -40), middle * (1 + 2 ** -52), middle * (1 - 2 ** -52)];
  });

describe('float16', () => {
  test('all 65536 values are those of the engine, and come back as their own bits', () => {
    for (const bits of everyHalf) {
      halfBits[0] = bits;
      const value = fromFloat16(bits);
      if (!Object.is(value, half[0])) expect.fail(`0x${bits.toString(16)} is ${half[0]}, got ${value}`);
      if (!Number.isNaN(value) && toFloat16(value) !== bits) expect.fail(`0x${bits.toString(16)} does not come back`);
    }
  });

  test('every middle between two halves, and its nearest neighbours, round as the engine rounds', () => {
    const finite = everyHalf
      .filter((bits) => bits <= 0x7c00)
      .map((bits) => (bits === 0x7c00 ? 65536 : fromFloat16(bits)));
    for (const value of hardValues(finite).flatMap((value) => [value, -value])) {
      const [got, wanted] = [toFloat16(value), nativeFloat16(value)];
      if (got !== wanted) expect.fail(`${value} is 0x${wanted.toString(16)}, got 0x${got.toString(16)}`);
    }
  });

  test('any double rounds as the engine rounds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.double({ noNaN: true }), fc.double({ min: -1e5, max: 1e5, noNaN: true })), (value) => {
        expect(toFloat16(value)).toBe(nativeFloat16(value));
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ['largest number', 65504, 0x7bff],
    ['just below the middle to infinity', 65519.99, 0x7bff],
    ['the middle to infinity', 65520, 0x7c00],
    ['overflow', -1e300, 0xfc00],
    ['smallest subnormal', 2 ** -24, 0x0001],
    ['the middle to zero', 2 ** -25, 0x0000],
    ['just above the middle to zero', 2 ** -25 * (1 + 2 ** -52), 0x0001],
    ['underflow keeps its sign', -1e-300, 0x8000],
    ['negative zero', -0, 0x8000],
    ['a tie once rounded to float32', 1 + 2 ** -11 + 2 ** -40, 0x3c01],
  ])('%s: %d is %i', (_, value, bits) => expect(toFloat16(value)).toBe(bits));

  test('NaN stays NaN', () => expect(fromFloat16(toFloat16(Number.NaN))).toBeNaN());
});

describe('bfloat16', () => {
  test('all 65536 values are the upper halves of float32, and come back as their own bits', () => {
    for (const bits of everyHalf) {
      floatBits[0] = bits * 65536;
      const value = fromBfloat16(bits);
      if (!Object.is(value, float[0])) expect.fail(`0x${bits.toString(16)} is ${float[0]}, got ${value}`);
      if (!Number.isNaN(value) && toBfloat16(value) !== bits) expect.fail(`0x${bits.toString(16)} does not come back`);
    }
  });

  test('every middle between two values, and its nearest neighbours, round to the nearest, ties to even', () => {
    const finite = everyHalf.filter((bits) => bits < 0x7f80).map(fromBfloat16);
    for (const value of hardValues([...finite, 2 ** 128]).flatMap((value) => [value, -value])) {
      const [got, wanted] = [toBfloat16(value), nearestBfloat16(value)];
      if (got !== wanted) expect.fail(`${value} is 0x${wanted.toString(16)}, got 0x${got.toString(16)}`);
    }
  });

  test('any double rounds to the nearest', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(toBfloat16(value)).toBe(nearestBfloat16(value));
      }),
      { numRuns: 5000 },
    );
  });

  test('infinities and NaN stay what they are', () => {
    expect(toBfloat16(Number.POSITIVE_INFINITY)).toBe(0x7f80);
    expect(toBfloat16(Number.NEGATIVE_INFINITY)).toBe(0xff80);
    expect(fromBfloat16(toBfloat16(Number.NaN))).toBeNaN();
    for (const payload of [0x7f800001, 0x7fffffff, 0xff800001]) {
      floatBits[0] = payload;
      expect(fromBfloat16(toBfloat16(float[0] as number))).toBeNaN();
    }
  });
});

test('many at a time are as one by one', () => {
  const all = Uint16Array.from(everyHalf);
  expect(fromFloat16s(all)).toEqual(Float32Array.from(everyHalf, fromFloat16));
  expect(fromFloat16s(all.subarray(9, 99))).toEqual(Float32Array.from(everyHalf.slice(9, 99), fromFloat16));
  expect(fromBfloat16s(all)).toEqual(Float32Array.from(everyHalf, fromBfloat16));
});
