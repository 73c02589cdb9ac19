import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod } from '../../../../test/describe-method';
import { expectClose } from '../../../../test/expect';
import { ParameterError } from '../../../errors';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal, uniform } from '../../../tensor/random';
import { findMethod } from '../../registry';
import { gatedDeltaRule } from '.';

const cases = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    n: fc.integer({ min: 1, max: 70 }),
    h: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 20 }),
    e: fc.integer({ min: 1, max: 20 }),
    decay: fc.constantFrom(0, 0.1, 3, 1e3),
    resumed: fc.boolean(),
    params: fc.record(
      {
        form: fc.constantFrom('chunked', 'recurrent'),
        scale: fc.double({ min: -2, max: 2, noNaN: true }),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ b, n, h, d, e, decay, resumed, params }) => ({
    q: [b, n, h, d],
    k: [b, n, h, d],
    v: [b, n, h, e],
    params,
    others: {
      g: hostTensor(
        uniform(b * n * h, 5).map((x) => -decay * x),
        [b, n, h],
        'f32',
      ),
      // Keys are random, of norm sqrt(d): betas that keep the state from growing.
      beta: hostTensor(
        uniform(b * n * h, 6).map((x) => x / (2 * d + 10)),
        [b, n, h],
        'f32',
      ),
      ...(resumed && { initial_state: hostTensor(normal(b * h * d * e, 7), [b, h, d, e], 'f32') }),
    },
  }));

describeMethod(gatedDeltaRule, cases);

describe('the reference', () => {
  const line = (numbers: readonly number[]) => hostTensor(Float64Array.from(numbers), [1, numbers.length, 1, 1]);
  const gate = (numbers: readonly number[]) => hostTensor(Float64Array.from(numbers), [1, numbers.length, 1]);
  const results = (inputs: Record<string, HostTensor>, params: unknown = {}) =>
    gatedDeltaRule.reference(inputs as never, gatedDeltaRule.parse(params as never));

  test('the example in one dimension: half of the error is written', () => {
    const ones = line([1, 1, 1]);
    const { out, state } = results({
      q: ones,
      k: ones,
      v: line([4, 4, 4]),
      g: gate([0, 0, 0]),
      beta: gate([0.5, 0.5, 0.5]),
    });
    expect([...out!.data]).toEqual([2, 3, 3.5]);
    expect([...state!.data]).toEqual([3.5]);
  });

  test('forgets before it measures the error', () => {
    const ones = line([1, 1]);
    const { out } = results({ q: ones, k: ones, v: line([4, 0]), g: gate([0, Math.log(0.5)]), beta: gate([1, 0.5]) });
    // 4, then half of it, then half of the error of -2.
    expectClose(out!.data as Float64Array, [4, 1], 1e-15);
  });

  test('reads with 1 / sqrt(d) unless told otherwise', () => {
    const ones = hostTensor(new Float64Array(4).fill(0.5), [1, 1, 1, 4]);
    const inputs = { q: ones, k: ones, v: line([1]), g: gate([0]), beta: gate([1]) };
    expect(results(inputs).out!.data[0]).toBe(0.5);
    expect(results(inputs, { scale: 3 }).out!.data[0]).toBe(3);
  });

  test('as many orthonormal keys as dimensions are recalled exactly, one more is not', () => {
    const d = 5;
    const unit = hostTensor(
      Float64Array.from({ length: d * d }, (_, at) => Number(Math.floor(at / d) === at % d)),
      [1, d, 1, d],
    );
    const v = hostTensor(Float64Array.from(normal(d * 3, 1)), [1, d, 1, 3]);
    const fill = (value: number) => hostTensor(new Float64Array(d).fill(value), [1, d, 1]);
    const { state } = results({ q: unit, k: unit, v, g: fill(0), beta: fill(1) });
    expect([...state!.data]).toEqual([...v.data]);
  });
});

test('cost counts operations of the recurrence and the state once', () => {
  const cost = gatedDeltaRule.cost({ b: 2, n: 10, h: 3, d: 4, e: 5 }, gatedDeltaRule.parse({}));
  expect(cost.flops).toBe(60 * (7 * 20 + 3 * 5));
  expect(cost.bytes).toBe(4 * (60 * (4 + 4 + 5 + 5 + 1 + 1) + 6 * 20));
  expect(cost.state).toBe(4 * 6 * 20);
});

test.each([
  [{ form: 'wy' }, 'param form of gated-delta-rule: expected one of chunked, recurrent, got "wy"'],
  [{ scale: Number.NaN }, 'param scale of gated-delta-rule: expected finite float32 number, got NaN'],
  [{ chunk: 64 }, "gated-delta-rule has no param 'chunk': expected form, scale"],
])('%j is refused by name', (params, message) => {
  expect(() => gatedDeltaRule.parse(params as never)).toThrow(message);
  expect(() => gatedDeltaRule.parse(params as never)).toThrow(ParameterError);
});

test('is found by name', () => expect(findMethod('gated-delta-rule')).toBe(gatedDeltaRule));
