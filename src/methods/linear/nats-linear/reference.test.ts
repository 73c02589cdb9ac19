import { describe, expect, test } from 'vitest';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { gatedDeltaRule } from '../../../ops/gated-delta-rule/recurrence';
import { type HostTensor, hostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import type { Params } from './params';
import { type Choices, type Given, reference, relaxed } from './reference';

const [b, n, h, d, e, a, chunk] = [2, 11, 2, 4, 6, 4, 3];
const chunks = Math.ceil(n / chunk);
const params: Params = { chunk, forget: true, counterfactual: false, epsilon: 1e-3 };

function random(shape: readonly number[], seed: number, map: (x: number) => number = (x) => x): HostTensor<'f64'> {
  return hostTensor(Float64Array.from(normal(sizeOf(shape), seed), map), shape, 'f64');
}

const inputs: Record<string, HostTensor<'f64'>> = {
  q: random([b, n, h, d], 1),
  k: random([b, n, h, d], 2),
  v: random([b, n, h, e], 3),
  g: random([b, n, h], 4, (x) => -0.3 * Math.abs(x)),
  beta: random([b, n, h], 5, (x) => 1 / (1 + Math.exp(-x))),
  route: random([b, chunks, h, 2], 6),
  mix: random([b, n, a, 2], 7),
  gain_q: random([(h * d) / a], 8),
  gain_k: random([(h * d) / a], 9),
  gain_softmax: random([(h * e) / a], 10),
  gain_delta: random([(h * e) / a], 11),
  gate: random([b, n, h, e], 12),
};
const gradOut = random([b, n, h, e], 13);

const lossOf = ({ out }: Record<string, HostTensor>) =>
  toFloat64(out as HostTensor).reduce((sum, x, i) => sum + x * (gradOut.data[i] as number), 0);

/** The slope of the loss as `data` changes at i. */
function slope(data: Float64Array, i: number, loss: () => number, step = 1e-5): number {
  const value = data[i] as number;
  data[i] = value + step;
  const above = loss();
  data[i] = value - step;
  const below = loss();
  data[i] = value;
  return (above - below) / (2 * step);
}

describe.each([true, false])('the reference, the state of softmax chunks decaying: %s', (forget) => {
  test('has the gradients that differences of its outputs give', () => {
    const settings = { ...params, forget };
    const grads = reference(inputs, settings, gradOut);
    for (const name of Object.keys(inputs).filter((name) => name !== 'route')) {
      const data = (inputs[name] as HostTensor<'f64'>).data;
      const grad = grads[`grad_${name}`] as HostTensor<'f64'>;
      expect(grad.shape).toEqual((inputs[name] as HostTensor).shape);
      for (let i = 0; i < data.length; i += 7) {
        const difference = slope(data, i, () => lossOf(reference(inputs, settings)));
        expect(grad.data[i], `${name} ${i}`).toBeCloseTo(difference, 6);
      }
    }
  });

  test('has as search gradient the straight-through derivative by the choices', () => {
    const settings = { ...params, forget };
    const route = (inputs.route as HostTensor<'f64'>).data;
    const pairs = route.length / 2;
    const share = Array.from(
      { length: pairs },
      (_, at) => 1 / (1 + Math.exp((route[2 * at + 1] ?? 0) - (route[2 * at] ?? 0))),
    );
    const z = (): Choices => ({
      softmax: Float64Array.from(share, (x) => (x >= 0.5 ? 1 : 0)),
      delta: Float64Array.from(share, (x) => (x >= 0.5 ? 0 : 1)),
    });
    for (const counterfactual of [false, true]) {
      const grad = reference(inputs, { ...settings, counterfactual }, gradOut).grad_route?.data as Float64Array;
      for (let at = 0; at < pairs; at++) {
        const choices = z();
        const slopes = (['softmax', 'delta'] as const).map((name) => {
          const chosen = choices[name][at] === 1;
          if (!chosen && !counterfactual) return 0;
          const loss = () => lossOf(relaxed(inputs, settings, choices));
          if (chosen || name === 'delta') return slope(choices[name], at, loss);
          // At 0 there is only one side.
          const before = loss();
          choices[name][at] = 1e-7;
          const rise = (loss() - before) / 1e-7;
          choices[name][at] = 0;
          return rise;
        }) as [number, number];
        const s = share[at] as number;
        const wanted = s * (1 - s) * (slopes[0] - slopes[1]);
        expect(grad[2 * at], `${counterfactual} ${at}`).toBeCloseTo(wanted, 5);
        expect(grad[2 * at + 1]).toBeCloseTo(-wanted, 5);
      }
    }
  });
});

/** Logits that send every chunk to one operator. */
const routed = (to: 'softmax' | 'delta', length = chunks) =>
  hostTensor(
    Float64Array.from({ length: b * length * h * 2 }, (_, i) => Number((i % 2 === 0) === (to === 'softmax'))),
    [b, length, h, 2],
  );

/** Rows over their root mean square, or over their length. */
function rows(x: HostTensor, shape: readonly number[], unit: boolean): HostTensor<'f64'> {
  const width = shape[3] as number;
  const data = toFloat64(x).slice();
  for (let first = 0; first < data.length; first += width) {
    const row = data.subarray(first, first + width);
    const square = row.reduce((sum, value) => sum + value * value, 0);
    const root = unit ? Math.sqrt(square + params.epsilon) : Math.sqrt(square / width + params.epsilon);
    for (let c = 0; c < width; c++) row[c] = (row[c] as number) / root;
  }
  return { dtype: 'f64', shape, data };
}

const plain: Given = Object.fromEntries(Object.entries(inputs).filter(([name]) => !name.startsWith('ga')));
const [q, k, v, g, beta] = ['q', 'k', 'v', 'g', 'beta'].map((name) => inputs[name]) as HostTensor<'f64'>[] as [
  HostTensor<'f64'>,
  HostTensor<'f64'>,
  HostTensor<'f64'>,
  HostTensor<'f64'>,
  HostTensor<'f64'>,
];

function softmaxAlone(sees: (i: number, j: number) => boolean): number[] {
  const [p, r] = [(h * d) / a, (h * e) / a];
  const heads = { q: rows(q, [b, n, a, p], false), k: rows(k, [b, n, a, p], false), v: { ...v, shape: [b, n, a, r] } };
  return [...toFloat64(softmaxAttention(heads, 1 / Math.sqrt(p), sees).out)];
}

function deltaAlone(): number[] {
  const unit = { q: rows(q, q.shape, true), k: rows(k, k.shape, true) };
  return [...toFloat64(gatedDeltaRule({ ...unit, v, g, beta }, 1 / Math.sqrt(d)).out)];
}

const numbers = (x: HostTensor | undefined) => [...toFloat64(x as HostTensor)];

function expectNear(actual: readonly number[], wanted: readonly number[]): void {
  expect(Math.max(...actual.map((x, i) => Math.abs(x - (wanted[i] as number))))).toBeLessThan(1e-12);
}

describe('oracles', () => {
  test('all chunks to softmax attention: it is causal attention, and the delta rule sees its own chunk', () => {
    const results = reference({ ...plain, route: routed('softmax') }, params);
    expectNear(
      numbers(results.softmax),
      softmaxAlone((i, j) => j <= i),
    );
    const changed = { ...v, data: v.data.map((x, i) => (i < chunk * h * e ? x + 1 : x)) };
    const after = reference({ ...plain, v: changed, route: routed('softmax') }, params);
    const later = chunk * h * e;
    const end = n * h * e;
    expect(numbers(after.delta).slice(later, end)).toEqual(numbers(results.delta).slice(later, end));
  });

  test('all chunks to the delta rule: it is the plain one, and softmax attention sees its own chunk', () => {
    const results = reference({ ...plain, route: routed('delta') }, params);
    expectNear(numbers(results.delta), deltaAlone());
    expectNear(
      numbers(results.softmax),
      softmaxAlone((i, j) => j <= i && Math.floor(i / chunk) === Math.floor(j / chunk)),
    );
  });

  test.each(['softmax', 'delta'] as const)('one chunk that holds all: both are whole, routed to %s', (to) => {
    const results = reference({ ...plain, route: routed(to, 1) }, { ...params, chunk: n + 2 });
    expectNear(numbers(results.delta), deltaAlone());
    expectNear(
      numbers(results.softmax),
      softmaxAlone((i, j) => j <= i),
    );
  });

  test('the route of a chunk leaves what is in it and before unchanged, and changes what follows', () => {
    const flipped = { ...inputs.route, data: (inputs.route as HostTensor<'f64'>).data.slice() } as HostTensor<'f64'>;
    // Chunk 1 of batch 0, both heads.
    for (let i = h * 2; i < 2 * h * 2; i++) flipped.data[i] = -(flipped.data[i] as number);
    const [before, after] = [reference(inputs, params), reference({ ...inputs, route: flipped }, params)];
    const end = 2 * chunk * h * e;
    expect(numbers(after.out).slice(0, end)).toEqual(numbers(before.out).slice(0, end));
    expect(numbers(after.out).slice(end)).not.toEqual(numbers(before.out).slice(end));
  });

  test('tokens that went to the delta rule change nothing in later results of softmax attention', () => {
    const route = routed('delta');
    const changed = { ...k, data: k.data.map((x, i) => (i < chunk * h * d ? x + 1 : x)) };
    const [before, after] = [
      reference({ ...plain, route }, params),
      reference({ ...plain, route, k: changed }, params),
    ];
    const [first, end] = [chunk * h * e, n * h * e];
    expect(numbers(after.softmax).slice(first, end)).toEqual(numbers(before.softmax).slice(first, end));
    expect(numbers(after.delta).slice(first, end)).not.toEqual(numbers(before.delta).slice(first, end));
  });

  test('both branches are causal', () => {
    const later = (x: HostTensor<'f64'>) => ({
      ...x,
      data: x.data.map((y, i) => (i >= 7 * (x.data.length / b / n) ? y + 1 : y)),
    });
    const [before, after] = [
      reference(inputs, params),
      reference({ ...inputs, q: later(q), k: later(k), v: later(v) }, params),
    ];
    expect(numbers(after.out).slice(0, 7 * h * e)).toEqual(numbers(before.out).slice(0, 7 * h * e));
  });

  test('without beta the state stays zero, and without an epsilon the length of v does not matter', () => {
    const still = { ...plain, beta: { ...beta, data: new Float64Array(beta.data.length) } };
    expect(numbers(reference(still, params).delta).every((x) => x === 0)).toBe(true);
    const exact = { ...params, epsilon: 0 };
    const longer = { ...plain, v: { ...v, data: v.data.map((x) => 3 * x) } };
    expectNear(numbers(reference(longer, exact).out), numbers(reference(plain, exact).out));
  });
});
