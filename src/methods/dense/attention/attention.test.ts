import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { expectClose } from '../../../../test/expect';
import { ParameterError } from '../../../errors';
import { hostTensor } from '../../../tensor/host';
import { problemOfLetters } from '../../define';
import { exactAttention } from '.';

const reach = fc.integer({ min: -1, max: 30 });

/** Any of the params, with documents and slopes now and then. */
const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      m: fc.integer({ min: 1, max: 70 }),
      params: fc.record(
        {
          causal: fc.boolean(),
          window: fc.tuple(reach, reach),
          sinks: fc.nat({ max: 9 }),
          prefix: fc.nat({ max: 9 }),
          softcap: fc.double({ min: 0.5, max: 5, noNaN: true }),
          scale: fc.double({ min: -2, max: 2, noNaN: true }),
        },
        { requiredKeys: [] },
      ),
      ids: fc.option(fc.array(fc.integer({ min: -1, max: 2 }), { minLength: b * n, maxLength: b * n })),
      slopes: fc.option(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: h, maxLength: h })),
    })
    .map(({ m, params, ids, slopes }) => {
      // Documents are those of queries and keys alike.
      const keys = ids ? n : m;
      const others = {
        ...(ids && { documents: hostTensor(Int32Array.from(ids), [b, n], 'i32') }),
        ...(slopes && { alibi_slopes: hostTensor(Float32Array.from(slopes), [h], 'f32') }),
      };
      return { q: [b, n, h, d], k: [b, keys, g, d], v: [b, keys, g, e], params, others };
    }),
);

describeMethod(exactAttention, cases);

describe('the reference', () => {
  const zeros = (...shape: number[]) => hostTensor(new Float64Array(shape.reduce((a, b) => a * b)), shape);

  test('equal scores average the values of the keys seen', () => {
    const inputs = { q: zeros(1, 3, 1, 2), k: zeros(1, 3, 1, 2), v: hostTensor([1, 2, 6], [1, 3, 1, 1]) };
    const { out, lse } = exactAttention.reference(inputs, exactAttention.parse({ causal: true }));
    expectClose(out!.data as Float64Array, [1, 1.5, 3], 1e-15);
    expectClose(lse!.data as Float64Array, [0, Math.log(2), Math.log(3)], 1e-15);
  });

  test('scores are scaled by 1 / sqrt(d) unless told otherwise', () => {
    const inputs = {
      q: hostTensor([1, 1, 1, 1], [1, 1, 1, 4]),
      k: hostTensor([1, 1, 1, 1, 0, 0, 0, 0], [1, 2, 1, 4]),
      v: hostTensor([1, 0], [1, 2, 1, 1]),
    };
    const weight = (params: unknown) =>
      exactAttention.reference(inputs, exactAttention.parse(params as never)).out!.data[0];
    expect(weight({})).toBeCloseTo(1 / (1 + Math.exp(-2)), 14);
    expect(weight({ scale: 0.25 })).toBeCloseTo(1 / (1 + Math.exp(-1)), 14);
  });
});

describe('cost', () => {
  const letters = { b: 2, n: 7, m: 9, h: 4, g: 2, d: 3, e: 5 };

  test('counts two operations per multiply-add, for the pairs seen', () => {
    const settings = exactAttention.parse({ window: [2, 1] });
    let pairs = 0;
    for (let i = 0; i < 7; i++) for (let j = 0; j < 9; j++) if (j - i - 2 >= -2 && j - i - 2 <= 1) pairs++;
    const cost = exactAttention.cost(letters, settings);
    expect(cost.flops).toBe(2 * 4 * pairs * (2 * 3 + 2 * 5));
    expect(cost.visited).toBe(pairs / 63);
  });

  test.each([
    ['full', {}, 50 ** 2],
    ['causal', { causal: true }, (50 * 51) / 2],
    ['window [7, 7]', { window: [7, 7] }, 15 * 50 - 7 * 8],
    ['causal window 7', { causal: true, window: [7, 0] }, 8 * 50 - (7 * 8) / 2],
  ])('of %s has the closed form of the page', (_, params, pairs) => {
    const square = { b: 1, n: 50, m: 50, h: 1, g: 1, d: 1, e: 1 };
    expect(exactAttention.cost(square, exactAttention.parse(params as never)).flops).toBe(4 * pairs);
  });

  test('counts inputs and outputs once', () => {
    const elements = 2 * (7 * 4 * 3 + 9 * 2 * 3 + 9 * 2 * 5 + 7 * 4 * 5 + 7 * 4);
    expect(exactAttention.cost(letters, exactAttention.parse({})).bytes).toBe(4 * elements);
  });
});

describe('variants', () => {
  const variants = (m: number) => exactAttention.variants({ b: 1, n: m, m, h: 1, g: 1, d: 1, e: 1 });

  test('are the full and the causal baseline and windows of several widths', () => {
    const problem = problemOfLetters({ n: 4096, m: 4096 });
    const names = variants(4096).map((variant) => exactAttention.mask?.(exactAttention.parse(variant), problem).name);
    expect(names).toEqual([
      'full',
      ...[64, 256, 1024, 128, 512].map((width) => `window [${width}, ${width}]`),
      'causal',
      ...[64, 256, 1024, 128, 512].map((width) => `causal window ${width}`),
    ]);
  });

  test.each([1, 2, 3, 100])('are all different and valid for %i keys', (m) => {
    const settings = variants(m).map((variant) => JSON.stringify(exactAttention.parse(variant)));
    expect(new Set(settings).size).toBe(settings.length);
  });
});

describe('params', () => {
  test('have defaults', () => {
    expect(exactAttention.parse({})).toEqual({ causal: false, window: [-1, -1], sinks: 0, prefix: 0 });
  });

  test.each([
    [5, 'params of attention must be an object, got 5'],
    [null, 'params of attention must be an object, got null'],
    [[], 'params of attention must be an object, got []'],
    [{ casual: true }, "attention has no param 'casual': expected causal, window, sinks, prefix, softcap, scale"],
    [{ causal: 'yes' }, 'param causal of attention: expected true or false, got "yes"'],
    [{ causal: null }, 'param causal of attention: expected true or false, got null'],
    [{ scale: Number.NaN }, 'param scale of attention: expected finite float32 number, got NaN'],
    [{ scale: Number.POSITIVE_INFINITY }, 'param scale of attention: expected finite float32 number, got Infinity'],
    [{ window: [64, 1.5] }, 'param window of attention: expected [integer >= -1, integer >= -1], got [64, 1.5]'],
    [{ window: [-2, 0] }, 'param window of attention: expected [integer >= -1, integer >= -1], got [-2, 0]'],
    [{ window: [1, Number.POSITIVE_INFINITY] }, 'got [1, Infinity]'],
    [{ window: [1] }, 'got [1]'],
    [{ sinks: -1 }, 'param sinks of attention: expected integer >= 0, got -1'],
    [{ prefix: 1.5 }, 'param prefix of attention: expected integer >= 0, got 1.5'],
    [{ softcap: 0 }, 'param softcap of attention: expected finite float32 number > 0, got 0'],
    [{ window: [1, 2, 3] }, 'got [1, 2, 3]'],
    [{ window: 64 }, 'got 64'],
    [{ window: { left: 1 } }, 'got {"left": 1}'],
  ])('%j is refused by name', (params, message) => {
    expect(() => exactAttention.parse(params as never)).toThrow(message);
    expect(() => exactAttention.parse(params as never)).toThrow(ParameterError);
  });
});
