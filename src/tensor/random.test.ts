import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParameterError } from '../index';
import { normal, uniform, uniformGenerator } from './random';

/** sfc32 as it is published, in integers of any size; its first numbers after `skip` rounds. */
function sfc32(seed: number, skip: number, length: number): number[] {
  const word = (x: bigint) => BigInt.asUintN(32, x);
  const wide = BigInt.asUintN(64, BigInt(seed));
  let [a, b, c, counter] = [word(wide), word(wide >> 32n), 0x9e3779b9n, 1n];
  const numbers: number[] = [];
  for (let round = 0; round < skip + length; round++) {
    const result = word(a + b + counter);
    counter = word(counter + 1n);
    a = b ^ (b >> 9n);
    b = word(c + (c << 3n));
    c = word(word((c << 21n) | (c >> 11n)) + result);
    if (round >= skip) numbers.push(Number(result) / 2 ** 32);
  }
  return numbers;
}

const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0) / values.length;

describe('uniformGenerator', () => {
  test('is sfc32 for any seed', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (seed) => {
        const next = uniformGenerator(seed);
        expect([next(), next(), next(), next()]).toEqual(sfc32(seed, 15, 4));
      }),
    );
  });

  test.each([0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, undefined])('seed %s is refused', (seed) => {
    expect(() => uniformGenerator(seed as number)).toThrow(ParameterError);
    expect(() => uniformGenerator(seed as number)).toThrow(`seed must be an integer, got ${seed}`);
  });
});

describe('uniform', () => {
  test('the same seed gives the same numbers, another seed others', () => {
    expect(uniform(100, 7)).toEqual(uniform(100, 7));
    expect(uniform(100, 7)).not.toEqual(uniform(100, 8));
    expect(uniform(10, 7)).toEqual(uniform(100, 7).subarray(0, 10));
  });

  test('fills its range evenly', () => {
    const counts = new Array<number>(20).fill(0);
    for (const value of uniform(20_000, 1, -1, 3)) counts[Math.floor((value + 1) * 5)]!++;
    // Chi-square with 19 degrees of freedom: 43.8 is passed once in a thousand seeds.
    expect(counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(43.8);
  });

  test('never reaches its upper bound', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (seed) => {
        // Between neighbouring float32 numbers every second value would round up to the bound.
        expect([...uniform(50, seed, 1, 1 + 2 ** -23)].every((value) => value === 1)).toBe(true);
      }),
    );
  });
});

describe('normal', () => {
  test('the same seed gives the same numbers, whatever the length', () => {
    expect(normal(7, 3)).toEqual(normal(8, 3).subarray(0, 7));
    expect(normal(0, 3)).toEqual(new Float32Array(0));
    expect(normal(8, 3)).not.toEqual(normal(8, 4));
  });

  test('has the moments of the standard normal distribution', () => {
    const values = normal(100_000, 5);
    const power = (exponent: number) => mean(values.map((value) => value ** exponent));
    // Five standard errors each.
    expect(Math.abs(power(1))).toBeLessThan(5 / Math.sqrt(1e5));
    expect(Math.abs(power(2) - 1)).toBeLessThan(5 * Math.sqrt(2 / 1e5));
    expect(Math.abs(power(3))).toBeLessThan(5 * Math.sqrt(15 / 1e5));
    expect(Math.abs(power(4) - 3)).toBeLessThan(5 * Math.sqrt(96 / 1e5));
  });

  test('neighbours do not depend on each other', () => {
    const values = normal(100_000, 6);
    for (const lag of [1, 2, 3]) {
      const products = values.subarray(lag).map((value, i) => value * (values[i] as number));
      expect(Math.abs(mean(products))).toBeLessThan(5 / Math.sqrt(1e5));
    }
  });
});
