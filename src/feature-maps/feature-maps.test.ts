import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import { pullback } from '../tape';
import { normal, uniform } from '../tensor/random';
import { drawDirections, type RandomFeatureOptions } from './draw';
import type { FeatureMap } from './feature-map';
import * as maps from './index';

type Definition = (x: readonly number[]) => number[];

/** Maps for vectors of `d` numbers, each beside its definition in float64. */
const CASES: readonly (readonly [name: string, make: (d: number) => readonly [FeatureMap, Definition]])[] = [
  ['relu', () => [maps.relu, each((x) => Math.max(x, 0))]],
  ['elu', () => [maps.elu, each((x) => (x > 0 ? x : Math.expm1(x)))]],
  ['eluPlusOne', () => [maps.eluPlusOne, each((x) => (x > 0 ? x + 1 : Math.exp(x)))]],
  ['silu', () => [maps.silu, each((x) => x / (1 + Math.exp(-x)))]],
  ['power', () => [maps.power(3), each((x) => Math.max(x, 0) ** 3)]],
  ['softmax', () => [maps.softmax, softmax]],
  ['fourier, pairs', (d) => [maps.fourier({ dimension: d, features: 10, seed: d }), fourierPairs(d)]],
  [
    'fourier, random phases',
    (d) => {
      const options = { dimension: d, features: 7, seed: d, orthogonal: false } as const;
      return [maps.fourier({ ...options, phases: 'random', bandwidth: 2 }), fourierPhases(d)];
    },
  ],
  [
    'positive',
    (d) => [maps.positive({ dimension: d, features: 9, seed: d }), positive({ dimension: d, features: 9, seed: d })],
  ],
  [
    'positive, antithetic',
    (d) => [maps.positive({ dimension: d, features: 6, seed: d, antithetic: true }), antithetic(d)],
  ],
  ...([0, 1, 2] as const).map(
    (degree) =>
      [
        `arcCosine of degree ${degree}`,
        (d: number) => {
          const options = { dimension: d, features: 8, seed: d };
          return [maps.arcCosine({ ...options, degree }), arcCosine(options, degree)] as const;
        },
      ] as const,
  ),
] as const;

describeOnBackends('feature maps', (runtime) => {
  for (const [name, make] of CASES) {
    test(`${name}: features and gradient as the definition has them`, async () => {
      const leading = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 3 });
      await fc.assert(
        fc.asyncProperty(leading, fc.integer({ min: 1, max: 9 }), async (shape, d) => {
          const [map, definition] = make(d);
          const m = map.features(d);
          using x = runtime().random([...shape, d], { seed: 100 + d });
          using gradPhi = runtime().random([...shape, m], { seed: 5 });
          const live = runtime().memory().live;
          const { results: phi, pull } = pullback((tracked) => map.forward(tracked), x);
          const gradX = pull(gradPhi);
          expect(phi.shape).toEqual([...shape, m]);
          expect(gradX.shape).toEqual(x.shape);
          const rows = rowsOf(await x.read(), d);
          const grads = rowsOf(await gradPhi.read(), m);
          expectNear(await phi.read(), rows.flatMap(definition));
          expectNear(
            await gradX.read(),
            rows.flatMap((row, r) => differences(definition, row, grads[r]!)),
          );
          phi.dispose();
          gradX.dispose();
          expect(runtime().memory().live).toBe(live);
        }),
        randomCases(15),
      );
    });
  }

  test('stabilised positive features differ by a factor only, and hold where the others overflow', async () => {
    const [d, m, n] = [8, 16, 5];
    const options = { dimension: d, features: m, seed: 1 };
    for (const size of [0.5, 40]) {
      const values = normal(n * d, 3).map((value) => size * value);
      const exponents = rowsOf(values, d).map((row) => positiveExponents(options)(row));
      using x = runtime().tensor(values, [n, d]);
      for (const [stabilise, largest] of [
        ['rows', exponents.map((row) => Math.max(...row))],
        ['all', exponents.map(() => Math.max(...exponents.flat()))],
      ] as const) {
        using phi = maps.positive({ ...options, stabilise }).forward(x);
        const expected = exponents.flatMap((row, r) =>
          row.map((value) => Math.exp(value - largest[r]!) / Math.sqrt(m)),
        );
        expectClose(await phi.read(), expected, size === 40 ? 2e-3 : 1e-6);
      }
    }
  });

  test('of each head the largest feature of all tokens is the unit, and other heads do not matter', async () => {
    const [d, m] = [4, 6];
    const options = { dimension: d, features: m, seed: 1 };
    const shape = [2, 5, 3, d];
    // Of the heads of both batches one is so much longer that the others would vanish beside it, or it beside them.
    const values = normal(2 * 5 * 3 * d, 3).map((value, at) => value * (Math.floor(at / d) % 3 === 1 ? 20 : 0.5));
    const exponents = rowsOf(values, d).map((row) => positiveExponents(options)(row));
    const headOf = (row: number) => Math.floor(row / 15) * 3 + (row % 3);
    const largest = (head: number) => Math.max(...exponents.filter((_, row) => headOf(row) === head).flat());
    using x = runtime().tensor(values, shape);
    using phi = maps.positive({ ...options, stabilise: 'heads' }).forward(x);
    const expected = exponents.flatMap((row, at) =>
      row.map((value) => Math.exp(value - largest(headOf(at))) / Math.sqrt(m)),
    );
    expectClose(await phi.read(), expected, 1e-3);
    using flat = x.reshape([30, d]);
    await expectRefusal(
      runtime(),
      () => maps.positive({ ...options, stabilise: 'heads' }).forward(flat),
      'x must have shape [..., tokens, heads, d] with stabilise heads, got [30, 4]',
    );
  });

  test('gradients of stabilised features are right for a loss that no factor changes', async () => {
    const [d, m] = [4, 6];
    const options = { dimension: d, features: m, seed: 1 };
    // The loss sum_i c_i phi_i / sum_i phi_i.
    const c = [1, -2, 0.5, 3, 0, -1];
    const loss: Definition = (row) => {
      const phi = positive(options)(row);
      return [sum(phi.map((value, i) => c[i]! * value)) / sum(phi)];
    };
    const row = [...normal(d, 2)];
    using x = runtime().tensor(row, [1, 1, d]);
    for (const stabilise of ['rows', 'heads', 'all'] as const) {
      const map = maps.positive({ ...options, stabilise });
      const { results, pull } = pullback((tracked) => map.forward(tracked), x);
      using phi = results;
      const values = [...(await phi.read())];
      const value = sum(values.map((each, i) => c[i]! * each)) / sum(values);
      using gradPhi = runtime().tensor(
        c.map((each) => (each - value) / sum(values)),
        [1, 1, m],
      );
      using gradX = pull(gradPhi);
      expectNear(await gradX.read(), differences(loss, row, [1]));
    }
  });

  test('refuse what does not fit, by name, and free everything', async () => {
    const map = maps.positive({ dimension: 4, features: 6 });
    using x = runtime().random([2, 4]);
    using wide = runtime().random([2, 5]);
    using number = runtime().tensor([1], []);
    using swapped = wide.permute([1, 0]);
    using bytes = runtime().tensor(new Uint8Array(4), [1, 4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(
      () => map.forward(wide),
      'x must have shape [..., 4], for which positive was drawn, got a last extent of 5',
    );
    await refuse(() => map.forward(number), 'x must have shape [..., d], got []');
    await refuse(() => maps.relu.forward(swapped), 'x [5, 2] must be contiguous');
    await refuse(() => map.forward(bytes), 'x must be f32, got u8');
    await refuse(() => map.forward(x, { out: x } as object), "positive has no option 'out': expected signal");
    await refuse(() => map.forward(x, { signal: AbortSignal.abort(new Error('stopped')) }), 'stopped');
  });
});

describe('options of feature maps', () => {
  const drawn = { dimension: 4, features: 6 };
  for (const [what, call, message] of [
    ['no features', () => maps.positive({ ...drawn, features: 0 }), 'features must be an integer >= 1, got 0'],
    [
      'features that no memory holds',
      () => maps.positive({ ...drawn, features: 2 ** 40 }),
      'features times dimension must be at most 268435456, got 1099511627776 times 4',
    ],
    ['half a feature', () => maps.fourier({ ...drawn, features: 1.5 }), 'features must be an integer >= 1, got 1.5'],
    [
      'infinitely many',
      () => maps.arcCosine({ ...drawn, features: Infinity }),
      'features must be an integer >= 1, got Infinity',
    ],
    [
      'no dimension',
      () => maps.positive({ ...drawn, dimension: Number.NaN }),
      'dimension must be an integer >= 1, got NaN',
    ],
    ['odd pairs', () => maps.fourier({ ...drawn, features: 5 }), "features must be even with phases: 'pairs', got 5"],
    [
      'odd opposites',
      () => maps.positive({ ...drawn, features: 5, antithetic: true }),
      'features must be even with antithetic: true, got 5',
    ],
    [
      'a bandwidth of 0',
      () => maps.fourier({ ...drawn, bandwidth: 0 }),
      'bandwidth must be a finite number > 0, got 0',
    ],
    [
      'a bandwidth in words',
      () => maps.fourier({ ...drawn, bandwidth: '1' as never }),
      "bandwidth must be a finite number > 0, got '1'",
    ],
    [
      'no finite bandwidth',
      () => maps.fourier({ ...drawn, bandwidth: Infinity }),
      'bandwidth must be a finite number > 0, got Infinity',
    ],
    ['a seed that is none', () => maps.positive({ ...drawn, seed: 0.5 }), 'seed must be an integer, got 0.5'],
    ['a degree of 3', () => maps.arcCosine({ ...drawn, degree: 3 as 2 }), 'degree must be 0, 1 or 2, got 3'],
    [
      'norms of nothing',
      () => maps.positive({ ...drawn, orthogonal: false, norms: 'chi' }),
      'norms needs orthogonal: true',
    ],
    [
      'unknown norms',
      () => maps.positive({ ...drawn, norms: 'one' as 'chi' }),
      "norms must be chi or sqrt-d, got 'one'",
    ],
    [
      'unknown stabilisers',
      () => maps.positive({ ...drawn, stabilise: 'keys' as 'all' }),
      "stabilise must be none, rows, heads or all, got 'keys'",
    ],
    ['unknown options', () => maps.positive({ ...drawn, count: 1 } as typeof drawn), "positive has no option 'count'"],
    ['an exponent of 0', () => maps.power(0), 'exponent must be an integer from 1 to 64, got 0'],
  ] as const) {
    test(`${what} are refused`, () => {
      expect(call).toThrow(message);
    });
  }
});

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const dot = (a: ArrayLike<number>, b: readonly number[]) => sum(b.map((value, i) => value * a[i]!));
const each =
  (f: (x: number) => number): Definition =>
  (row) =>
    row.map(f);

function rowsOf(values: Float32Array, c: number): number[][] {
  return Array.from({ length: values.length / c }, (_, r) => [...values.subarray(r * c, (r + 1) * c)]);
}

function softmax(row: readonly number[]): number[] {
  const weights = row.map(Math.exp);
  return weights.map((weight) => weight / sum(weights));
}

/** w x for each direction w. */
function along(directions: Float32Array, row: readonly number[]): number[] {
  const d = row.length;
  return Array.from({ length: directions.length / d }, (_, i) => dot(directions.subarray(i * d, (i + 1) * d), row));
}

function fourierPairs(d: number): Definition {
  const w = drawDirections(5, { dimension: d, features: 10, seed: d });
  return (row) => {
    const angles = along(w, row);
    return [...angles.map(Math.cos), ...angles.map(Math.sin)].map((value) => value / Math.sqrt(5));
  };
}

function fourierPhases(d: number): Definition {
  const w = drawDirections(7, { dimension: d, features: 7, seed: d, orthogonal: false });
  const b = uniform(7, d + 2 ** 32, 0, 2 * Math.PI);
  return (row) => along(w, row).map((angle, i) => Math.sqrt(2 / 7) * Math.cos(angle / 2 + b[i]!));
}

function positiveExponents(
  options: RandomFeatureOptions,
  directions = drawDirections(options.features, options),
): Definition {
  return (row) => along(directions, row).map((value) => value - dot(row, row) / 2);
}

function positive(options: RandomFeatureOptions, directions?: Float32Array): Definition {
  const exponents = positiveExponents(options, directions);
  return (row) => exponents(row).map((value) => Math.exp(value) / Math.sqrt(options.features));
}

function antithetic(d: number): Definition {
  const options = { dimension: d, features: 6, seed: d };
  const w = drawDirections(3, options);
  return positive(options, Float32Array.from([...w, ...w.map((value) => -value)]));
}

function arcCosine(options: RandomFeatureOptions, degree: number): Definition {
  const w = drawDirections(options.features, options);
  return (row) => along(w, row).map((t) => (t > 0 ? Math.sqrt(2 / options.features) * t ** degree : 0));
}

/**
 * The gradient with respect to `row` of gradPhi . definition(row), by central differences so narrow that they rarely
 * meet a kink.
 */
function differences(definition: Definition, row: readonly number[], gradPhi: readonly number[]): number[] {
  const h = 1e-6;
  return row.map((value, i) => {
    const at = (moved: number) => dot(gradPhi, definition(row.map((each, j) => (j === i ? moved : each))));
    return (at(value + h) - at(value - h)) / (2 * h);
  });
}

/** Within 2e-5 of the largest value, or of 1. */
function expectNear(actual: ArrayLike<number>, expected: readonly number[]): void {
  expectClose(actual, expected, 2e-5 * Math.max(1, ...expected.map(Math.abs)));
}
