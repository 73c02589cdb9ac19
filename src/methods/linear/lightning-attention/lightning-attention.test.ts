import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences, weightsOf } from '../../../../test/describe-method';
import { expectClose } from '../../../../test/expect';
import { ParameterError } from '../../../errors';
import { createRuntime } from '../../../ops/create-runtime';
import { hostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { lightningAttention } from '.';
import { paperDecays, releasedDecays, releasedSlopes, SCHEDULES } from './schedules';

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      decay: fc.option(fc.array(fc.constantFrom(1, 0.99, 0.5, 1e-3), { minLength: h, maxLength: h })),
      schedule: fc.option(fc.constantFrom(...SCHEDULES)),
      layers: fc.integer({ min: 1, max: 4 }),
      stated: fc.boolean(),
    })
    .chain((settings) => fc.nat({ max: settings.layers - 1 }).map((layer) => ({ ...settings, layer })))
    .map(({ decay, schedule, layer, layers, stated }) => ({
      q: [b, n, h, d],
      k: [b, n, g, d],
      v: [b, n, g, e],
      params: { layer, layers, ...(schedule && !decay && { schedule }) },
      others: {
        ...(decay && { decay: hostTensor(Float32Array.from(decay), [h], 'f32') }),
        ...(stated && { initial_state: hostTensor(normal(b * h * d * e, 9), [b, h, d, e], 'f32') }),
      },
    })),
);

describeMethod(lightningAttention, cases);

describe('the reference', () => {
  test('computes the hand case', () => {
    const column = (...values: number[]) => hostTensor(values, [1, values.length, 1, 1], 'f64');
    const inputs = { q: column(1, 2), k: column(3, 4), v: column(5, 6), decay: hostTensor([0.5], [1], 'f64') };
    const results = lightningAttention.reference(inputs, lightningAttention.parse({}), column(1, 1));
    const numbers = Object.fromEntries(Object.entries(results).map(([name, x]) => [name, [...toFloat64(x)]]));
    expect(numbers).toEqual({ out: [15, 63], state: [31.5], grad_q: [15, 31.5], grad_k: [10, 12], grad_v: [6, 8] });
  });
});

test('weights fall with the distance by the schedule', async () => {
  const rows = (...values: number[]) => hostTensor(values, [1, 3, 1, 1], 'f64');
  const [inputs, params] = [{ q: rows(1, 1, 2), k: rows(3, 2, 1), v: rows(0, 0, 0) }, { schedule: 'released' }];
  const [decay] = releasedDecays(1, { layer: 0, layers: 1 }) as [number];
  const { data } = await weightsOf(lightningAttention, inputs, params, [2]);
  expectClose(data, [6 * decay ** 2, 4 * decay, 2], 1e-6);
});

describe("the paper's schedule", () => {
  test.each([
    [0, [1, 0.3679, 0.1353, 0.0498, 0.0183, 0.0067, 0.0025, 0.0009]],
    [3, [1, 0.7788, 0.6065, 0.4724, 0.3679, 0.2865, 0.2231, 0.1738]],
  ])('8 heads, layer %i of 4', (layer, decays) => {
    expectClose(paperDecays(8, { layer, layers: 4 }), decays, 5e-5);
  });
});

describe('the schedule of the released models', () => {
  test('slopes are a geometric series for powers of two', () => {
    expect(releasedSlopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((power) => 2 ** -power));
    const slopes = releasedSlopes(64);
    expectClose(
      slopes,
      slopes.map((_, head) => (slopes[0] as number) ** (head + 1)),
      1e-15,
    );
  });

  test('other numbers of heads take every other slope of the next power', () => {
    const between = [1, 3, 5, 7].map((power) => 2 ** (-power / 2));
    expectClose(releasedSlopes(12), [...releasedSlopes(8), ...between], 1e-15);
    expect(releasedSlopes(40)).toHaveLength(40);
    expect(releasedSlopes(1)).toEqual([2 ** -8]);
  });

  test('the first layer has the slopes, the last one hardly forgets, a single one is a first one', () => {
    const rates = (layer: number, layers: number) => releasedDecays(8, { layer, layers }).map((x) => -Math.log(x));
    const slopes = releasedSlopes(8);
    const times = (factor: number) => slopes.map((slope) => slope * factor);
    expectClose(rates(0, 4), times(1 + 1e-5), 1e-12);
    expectClose(rates(3, 4), times(1e-5), 1e-12);
    expectClose(rates(0, 1), times(1 + 1e-5), 1e-12);
  });

  test('what is no layer is refused', () => {
    expect(() => releasedDecays(8, { layer: 4, layers: 4 })).toThrow('layer must be an integer from 0 to 3, got 4');
    expect(() => paperDecays(0, { layer: 0, layers: 4 })).toThrow('heads must be an integer >= 1, got 0');
    expect(() => paperDecays(8, { layer: 0, layers: 0.5 })).toThrow(ParameterError);
  });
});

test('cost counts the pairs within chunks and two products with the state', () => {
  const { flops, bytes, state } = lightningAttention.cost(
    { b: 2, n: 50, h: 4, g: 2, d: 3, e: 5 },
    { layer: 0, layers: 1 },
  );
  expect(flops).toBe(2 * 4 * (2 * (3 + 5) * ((48 * 49) / 2 + 3) + 4 * 50 * 3 * 5));
  expect(bytes).toBe(4 * (2 * 50 * (4 * 8 + 2 * 8) + 2 * 4 * 15));
  expect(state).toBe(4 * 2 * 4 * 15);
});

test('decays that are none are refused by name', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const x = runtime.random([1, 4, 2, 3]);
  const run = async (decay: number[], params: object = {}) => {
    const inputs = { q: x, k: x, v: x, decay: runtime.tensor(decay, [decay.length]) };
    return lightningAttention.forward(inputs, lightningAttention.parse(params)).out?.read();
  };
  await expect(run([0.5, 1.25])).rejects.toThrow('decay must be in (0, 1], got 1.25 for head 1');
  await expect(run([0, 1])).rejects.toThrow('decay must be in (0, 1], got 0 for head 0');
  await expect(run([0.5])).rejects.toThrow('decay must have shape [h] with h = 2');
  await expect(run([1, 1], { schedule: 'paper' })).rejects.toThrow('decay is given: leave the param schedule out');
  expect(() => lightningAttention.parse({ schedule: 'code' } as never)).toThrow(
    'param schedule of lightning-attention: expected one of paper, released, got "code"',
  );
});
