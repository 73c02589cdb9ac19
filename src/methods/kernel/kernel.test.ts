/** Kernel methods against their references, forward and gradients, and against known answers. */
import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../../test/backends';
import { differentiated, relativeError, smallGradient } from '../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { type HostTensor, hostTensor, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { Method } from '../define';
import { kernelRidge } from './kernel-ridge';
import { randomFeatureAttention } from './random-feature-attention';
import { randomFeatureRisk } from './random-feature-risk';
import { snnk } from './snnk';
import { activationWaves, snnkLayer } from './snnk/activation-waves';
import { reference as snnkReference } from './snnk/reference';
import { wavesOf } from './snnk/waves';

const random = (shape: readonly number[], seed: number, factor = 1) =>
  hostTensor(
    normal(sizeOf(shape), seed).map((value) => factor * value),
    shape,
    'f32',
  );

const RIDGE = { support: random([13, 5], 1), labels: random([13, 3], 2), query: random([7, 5], 3) };
const ATTENTION = { query: random([2, 4], 1), keys: random([2, 9, 4], 2), weights: random([6, 5, 5], 3, 0.5) };
const LAYER = { x: random([5, 6], 1, 0.4), w: random([4, 6], 2, 0.4), projections: random([33, 6], 3) };
const BIAS = { bias: random([4], 4, 0.5) };
const SIGNS = {
  signs: hostTensor(
    Int32Array.from({ length: 33 }, (_, i) => 1 - 2 * (i % 2)),
    [33],
  ),
};

type Inputs = Readonly<Record<string, HostTensor>>;
const CASES: readonly (readonly [method: Method, params: object, inputs: Inputs])[] = [
  [kernelRidge as never, { kernel: 'gaussian', bandwidth: 2, ridge: 0.3 }, RIDGE],
  [randomFeatureAttention as never, { biased: true }, ATTENTION],
  [snnk as never, { activation: 'cos' }, { ...LAYER, ...BIAS, ...SIGNS }],
  [kernelRidge as never, { kernel: 'linear', ridge: 1 }, RIDGE],
  [kernelRidge as never, { kernel: 'laplace', bandwidth: 3 }, RIDGE],
  [kernelRidge as never, { kernel: 'polynomial', degree: 2, ridge: 1 }, RIDGE],
  ...[0, 1, 2].map((order) => [kernelRidge as never, { kernel: 'arc-cosine', order, ridge: 1 }, RIDGE] as const),
  [randomFeatureAttention as never, { activation: 'softmax' }, ATTENTION],
  [randomFeatureAttention as never, { activation: 'sigmoid' }, ATTENTION],
  [snnk as never, { activation: 'relu', floor: -0.3 }, LAYER],
  [snnk as never, { activation: 'exp' }, { ...LAYER, ...BIAS }],
  [snnk as never, { activation: 'sin' }, LAYER],
  [snnk as never, { activation: 'sin', split: 'symmetric' }, { ...LAYER, ...BIAS, ...SIGNS }],
  [snnk as never, { activation: 'cos', split: 'symmetric' }, LAYER],
  [snnk as never, { activation: 'tanh' }, { ...LAYER, ...BIAS }],
  [snnk as never, { activation: 'sigmoid' }, LAYER],
  [snnk as never, { activation: 'gelu' }, { ...LAYER, ...BIAS }],
];

describeOnBackends('kernel methods', (runtime) => {
  test.each(
    fewOnGpu(
      CASES.map((each) => [each[0].name, each[1], each] as const),
      3,
    ),
  )('%s %j', async (_, __, [method, given, inputs]) => {
    const params = method.parse(given as Record<string, unknown>);
    const [out] = Object.values(method.reference(inputs, params));
    const gradOut = random((out as HostTensor).shape, 9);
    const expected = method.reference(inputs, params, gradOut);
    await scoped(runtime(), async () => {
      const tensors = Object.fromEntries(
        Object.entries(inputs).map(([name, host]) => [name, runtime().fromHost(host as HostTensor<'f32'>)]),
      );
      const { results, gradients } = differentiated(
        method,
        tensors,
        params,
        runtime().fromHost(gradOut as HostTensor<'f32'>),
      );
      const found: Record<string, Tensor> = { ...results };
      for (const [name, gradient] of Object.entries(gradients)) found[`grad_${name}`] = gradient as Tensor;
      expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
      const smallest = smallGradient(Object.keys(gradients).map((name) => expected[`grad_${name}`] as HostTensor));
      for (const [name, tensor] of Object.entries(found)) {
        const isGradient = name.startsWith('grad_');
        const error = relativeError(await tensor.toHost(), expected[name] as HostTensor, isGradient ? smallest : 0);
        expect(error, name).toBeLessThan(isGradient ? 1e-4 : 2e-5);
      }
    });
  });

  test('the risk is that of its equations, and the table of the authors', async () => {
    const power = (exponent: number) =>
      hostTensor(
        Float32Array.from({ length: 10_000 }, (_, i) => (i + 1) ** -exponent),
        [10_000],
      );
    const host = { eigenvalues: power(1.5), coefficients: power(0.75) };
    const given = {
      eigenvalues: runtime().fromHost(host.eigenvalues as HostTensor<'f32'>),
      coefficients: runtime().fromHost(host.coefficients as HostTensor<'f32'>),
    };
    for (const [samples, features, ridge, test, train, kappa, gamma] of TABLE) {
      const results = randomFeatureRisk.forward(
        given,
        randomFeatureRisk.parse({ samples, features, ridge, noise: 0.5 }),
      );
      const [out, k, g] = await Promise.all([results.out, results.kappa, results.gamma].map((each) => each.read()));
      for (const [found, wanted] of [
        [out?.[0], test],
        [out?.[1], train],
        [k?.[0], kappa],
        [g?.[0], gamma],
      ])
        expect((found as number) / (wanted as number)).toBeCloseTo(1, 3);
      for (const each of Object.values(results)) each.dispose();
    }
    const bad = runtime().tensor([1, -1]);
    await expectRefusal(
      runtime(),
      () => randomFeatureRisk.forward({ eigenvalues: bad, coefficients: bad }, randomFeatureRisk.parse({})),
      'eigenvalues must be finite numbers >= 0, got -1 at element 1',
    );
    for (const each of [bad, ...Object.values(given)]) each.dispose();
  });

  test('snnkLayer with cosines and sines is its reference', () =>
    scoped(runtime(), async () => {
      const waves = activationWaves((t) => Math.max(t, 0) + Math.sin(t), { count: 33, radius: 2 });
      const inputs = { ...LAYER, ...BIAS };
      const [x, w, projections, bias] = [inputs.x, inputs.w, inputs.projections, inputs.bias].map((host) =>
        runtime().fromHost(host as HostTensor<'f32'>),
      ) as [Tensor, Tensor, Tensor, Tensor];
      const expected = snnkReference(inputs, snnk.parse({}) as never, waves).out as HostTensor;
      const found = snnkLayer({ x, w, projections, bias }, waves);
      expect(relativeError(await found.toHost(), expected)).toBeLessThan(2e-5);
      expect(() => snnkLayer({ x, w, projections: w }, waves)).toThrow(
        'projections must be as many as waves, 33, got 4',
      );
    }));

  test('what does not fit is refused by name', async () => {
    await scoped(runtime(), async () => {
      const [support, labels, flat] = [runtime().random([4, 2]), runtime().ones([4, 1]), runtime().ones([4, 2])];
      const ask =
        (params: object, more: object = {}) =>
        () =>
          kernelRidge.forward(
            { support, labels, query: support, ...more } as never,
            kernelRidge.parse(params as never),
          );
      await expectRefusal(
        runtime(),
        ask({ kernel: 'linear', bandwidth: 2 }),
        'bandwidth is no param of the linear kernel, which takes none',
      );
      await expectRefusal(
        runtime(),
        ask({ kernel: 'linear', ridge: 0 }, { support: flat, query: flat }),
        'is not positive definite: pivot 1 is not above 0',
      );
      const few = runtime().ones([3, 1]);
      await expectRefusal(runtime(), ask({}, { labels: few }), 'labels must have shape [s, c]');
      const [query, keys, weights] = [runtime().ones([1, 2]), runtime().ones([1, 3, 2]), runtime().ones([1, 2, 2])];
      await expectRefusal(
        runtime(),
        () => randomFeatureAttention.forward({ query, keys, weights }, randomFeatureAttention.parse({})),
        'weights must have shape [r, d + 1, d + 1]',
      );
      const bias = runtime().ones([4]);
      await expectRefusal(
        runtime(),
        () => snnk.forward({ x: support, w: support, projections: support, bias }, snnk.parse({})),
        'activation relu takes no bias',
      );
    });
  });
});

/** [samples, features, ridge, test error, training error, kappa, gamma]; the stored results of the authors. */
const TABLE = [
  [256, 15, 0.0046416, 1.48219, 1.31364, 1.9259e-5, 0.059721],
  [256, 255, 0.0046416, 2.90555, 0.05394, 1.3307e-4, 1.0016e-3],
  [256, 1000, 0.1, 0.95435, 0.09939, 1.2105e-3, 1.4644e-3],
  [256, 1000, 2.15443, 0.90183, 0.60061, 0.010312, 0.010822],
  [15, 256, 0.1, 1.66492, 0.01695, 0.066081, 0.069756],
  [25, 251, 2, 1.46742, 0.6123, 0.12385, 0.12837],
] as const;

test('kernel ridge regression of two points, by hand', () => {
  const host = {
    support: hostTensor([0, 1], [2, 1]),
    labels: hostTensor([1, 0], [2, 1]),
    query: hostTensor([0, 1], [2, 1]),
  };
  const { out } = kernelRidge.reference(host, kernelRidge.parse({ ridge: 0.1 }));
  expectClose(out?.data as Float64Array, [0.869377, 0.072024], 1e-6);
});

test('a score below 0 gives no feature, one above 0 the key with its 1', () => {
  const features = (weights: number[]) => {
    const host = {
      query: hostTensor([1], [1, 1]),
      keys: hostTensor([-1], [1, 1, 1]),
      weights: hostTensor(weights, [1, 2, 2]),
    };
    return [...toFloat64(randomFeatureAttention.reference(host, randomFeatureAttention.parse({})).out as HostTensor)];
  };
  expectClose(features([1, 0, 0, 0]), [0, 0], 0);
  expectClose(features([0, 0, 0, 1]), [-1, 1], 0);
  expectClose(features([1, 0, 0, 1]), [0, 0], 0);
});

test('the means of features are the activations, within four standard errors', () => {
  const r = 20_000;
  const unit = [0.6, 0, 0.8];
  const weight = [0, 0.6, 0.8];
  const host = {
    x: hostTensor(unit, [1, 3]),
    w: hostTensor(weight, [1, 3]),
    projections: random([r, 3], 5),
    bias: hostTensor([0.3], [1]),
  };
  const dot = 0.64;
  for (const split of ['asymmetric', 'symmetric'] as const) {
    for (const [activation, wanted] of [
      ['cos', Math.cos(dot + 0.3)],
      ['sin', Math.sin(dot + 0.3)],
      ['exp', Math.exp(dot + 0.3)],
    ] as const) {
      // The second moment of exp is e^(2 |x + w|^2 - 2 + 2 b), of the others less than e^(|x + w|^2).
      const deviation = activation === 'exp' ? Math.exp(1.3 + 2 * dot) : Math.exp(1 + dot);
      const { out } = snnk.reference(host, snnk.parse({ activation, split }));
      expectClose(out?.data as Float64Array, [wanted], (4 * deviation) / Math.sqrt(r));
    }
  }
  const short = { ...host, x: hostTensor([0.3, 0, 0.4], [1, 3]) };
  const t = 0.32 + 0.3;
  for (const [activation, wanted] of [
    ['tanh', Math.tanh(t)],
    ['sigmoid', 1 / (1 + Math.exp(-t))],
    // t Phi(t) by tables of the normal distribution.
    ['gelu', t * 0.732371],
  ] as const) {
    const { out } = snnk.reference(short, snnk.parse({ activation }));
    expectClose(out?.data as Float64Array, [wanted], 0.04);
  }
  const { bias: _, ...plain } = host;
  const angle = Math.acos(dot);
  const { out } = snnk.reference(plain, snnk.parse({}));
  expectClose(
    out?.data as Float64Array,
    [(Math.sin(angle) + (Math.PI - angle) * dot) / (2 * Math.PI)],
    8 / Math.sqrt(r),
  );
});

test('snnk counts as many features of waves as it multiplies', () => {
  const letters = { b: 2, d: 3, l: 5, r: 7 };
  const { flops, state } = snnk.cost(letters, snnk.parse({ activation: 'gelu' }));
  expect([flops, state]).toEqual([2 * (2 + 5) * 7 * 3 + 2 * 2 * 5 * 7, 4 * 5 * 7]);
});

describeOnBackends('snnk with many waves', (runtime) => {
  test.each([false, true])('gelu in float32 is as its reference, with a bias %s', async (hasBias) => {
    await scoped(runtime(), async () => {
      const r = 16_384;
      const host = {
        x: hostTensor([0.3, 0, 0.4, -0.5, 0.2, 0.1], [2, 3]),
        w: hostTensor([0.4, 0.3, 0.2], [1, 3]),
        projections: hostTensor(normal(3 * r, 1), [r, 3]),
        ...(hasBias && { bias: hostTensor([0.3], [1]) }),
      };
      const params = snnk.parse({ activation: 'gelu' });
      const given = Object.fromEntries(
        Object.entries(host).map(([name, each]) => [name, runtime().tensor(each.data as Float32Array, each.shape)]),
      );
      const { out } = snnk.forward(given as never, params);
      expectClose(await (out as Tensor<'f32'>).read(), snnk.reference(host, params).out?.data as Float64Array, 1e-5);
    });
  });
});

test('computed transforms are the closed forms', () => {
  const gelu = (t: number) => (t / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (t + 0.044715 * t ** 3)));
  const sinh = (w: number) => 1 / Math.sinh((Math.PI * w) / 2);
  const own = [
    ['tanh', Math.tanh, { transform: (w: number) => [0, sinh(w)] as const }],
    [
      'sigmoid',
      (t: number) => 1 / (1 + Math.exp(-t)),
      { transform: (w: number) => [0, sinh(2 * w)] as const, constant: 0.5 },
    ],
    [
      'gelu',
      gelu,
      {
        transform: (w: number) => [(-(1 + 1 / (w * w)) * Math.exp((-w * w) / 2)) / Math.PI, 0] as const,
        isPinned: true,
        linear: 0.5,
      },
    ],
  ] as const;
  for (const [name, f, transform] of own) {
    const closed = wavesOf(name, 2000);
    const [computed, given] = [f, transform].map((each) => activationWaves(each, { count: 2000 }));
    for (const t of [-3, -1, -0.2, 0, 0.7, 2.5]) {
      expect(Math.abs(computed!.evaluate(t) - f(t)), `${name} ${t}`).toBeLessThan(2e-3);
      // GELU is given by tanh here, within 5e-4.
      expect(Math.abs(given!.evaluate(t) - f(t)), `${name} ${t}`).toBeLessThan(1e-3);
      const sum = closed.frequencies.reduce(
        (sum, w, j) =>
          sum + closed.cosines[j]! * (Math.cos(w * t) - (closed.isPinned ? 1 : 0)) + closed.sines[j]! * Math.sin(w * t),
        0,
      );
      expect(Math.abs(closed.constant + closed.linear * t + sum / 2000 - given!.evaluate(t))).toBeLessThan(1e-3);
    }
    expect(computed!.error).toBeLessThan(5e-3);
  }
});

test('relu(w x) is estimated by a computed transform, within four standard errors', () => {
  const r = 20_000;
  const waves = activationWaves((t) => Math.max(t, 0), { count: r, radius: 1, most: 16 });
  expect(waves.error).toBeLessThan(0.03);
  const x = hostTensor([0.06, 0, 0.08], [1, 3]);
  const w = hostTensor([0, 0.6, 0.8], [1, 3]);
  for (const bias of [-0.4, 0.4]) {
    const inputs = { x, w, projections: random([r, 3], 5), bias: hostTensor([bias], [1]) };
    const { out } = snnkReference(inputs, snnk.parse({}) as never, waves);
    expectClose(out?.data as Float64Array, [waves.evaluate(0.064 + bias)], 0.02);
    expectClose(out?.data as Float64Array, [Math.max(0, 0.064 + bias)], 0.04);
  }
});
