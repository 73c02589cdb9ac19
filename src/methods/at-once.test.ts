/** Passes of methods return tensors at once and read nothing, neither then nor later on account of them. */
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { differentiated } from '../../test/describe-method';
import { createRuntime, pullback, Tensor } from '../index';
import { uniform } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import type { Letters, Method } from './define';
import { dilatedReparamConv } from './large-kernels/dilated-reparam-conv';
import { methods } from './registry';

/** A setting beside the variants: params, and the shape or the integers of each optional input. */
interface Setting {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly inputs?: Readonly<Record<string, readonly number[] | Int32Array>>;
}

const EXTENTS = {
  ...{ b: 1, n: 16, m: 16, h: 2, g: 2, d: 4, e: 4, space0: 4, space1: 4, c: 4, o: 2, a: 2 },
  // Of pictures and kernels.
  ...{ rows: 4, columns: 4, k: 13, p: 5, r: 2, s: 3, t: 7, u: 3, v: 3 },
  ...{ l: 3, w: 5, places: 9, 2: 2, 1: 1 },
};
const { b, n, m, h, g, d, e } = EXTENTS;
const state = [b, h, d, e];
const redundant = { q_redundant: [b, n, h, d], k_redundant: [b, m, g, d] };

/** A large kernel, and the dilated ones beside it. */
const beside = (extent: number, ...branches: readonly string[]) => ({
  params: { kernel: extent },
  inputs: {
    'lk_origin.weight': [4, 1, extent, extent],
    ...Object.fromEntries(
      Object.entries<string>(dilatedReparamConv.optional as Readonly<Record<string, string>>)
        .filter(([name]) => branches.some((branch) => name.includes(`k${branch}.`)))
        .map(([name, spec]) => [name, spec.split(' ').map((letter) => (letter === 'c' ? 4 : Number(letter)))]),
    ),
  },
});

/** By method: together they have every optional input, and every way to compute that `variants` has not. */
const SETTINGS: Readonly<Record<string, readonly Setting[]>> = {
  attention: [
    { params: { softcap: 5, prefix: 2, causal: true, sinks: 1 } },
    { inputs: { documents: Int32Array.from({ length: n }, (_, i) => Math.floor(i / 5)), alibi_slopes: [h] } },
  ],
  longca: [{ params: { mask: 'causal-document' } }, { params: { mask: 'variable-block-sparse', block: 4 } }],
  'neighborhood-attention': [{ params: { window: [3, 2], causal: [true, false], dilation: [1, 2] } }],
  'adaptive-token-pruning': [
    {
      params: { threshold: 0.1 },
      inputs: { policy: Int32Array.from({ length: b * n }, (_, i) => (i % 3 === 1 ? 0 : 1)) },
    },
  ],
  'roi-labels': [{ inputs: { sinks: [1, 4, 4] } }],
  'simprune-attention': [{ params: { grid: [4, 4], recover: 'before' }, inputs: { noise: [b, n] } }],
  'stochastic-attention': [
    {
      params: { window: 3, gated: true },
      inputs: {
        permutation: Int32Array.from({ length: n }, (_, i) => (5 * i) % n),
        gate_sa: [b, n, h],
        gate_swa: [b, n, h],
      },
    },
  ],
  'lightning-attention': [
    { params: { schedule: 'paper', layers: 2 } },
    { inputs: { decay: [h], initial_state: state } },
  ],
  'local-linear-attention': [{ params: { solver: 'direct' }, inputs: { ridge_rows: [b, n, h] } }],
  'gated-delta-rule': [{ params: { form: 'recurrent' } }, { inputs: { initial_state: state } }],
  'nats-linear': [
    { params: { chunk: 4 } },
    {
      params: { chunk: 4 },
      inputs: { gain_q: [d], gain_k: [d], gain_softmax: [e], gain_delta: [e], gate: [b, n, h, e] },
    },
  ],
  performer: [{ params: { kernel: 'relu' } }, { params: { features: 8, orthogonal: false } }],
  'kernel-attention': [
    { params: { norm: 'none' }, inputs: { directions: [8, d] } },
    ...['tokens', 'batch', 'mean', 'sum', 'frozen'].map((update) => ({
      params: { part: 'advisor', norm: 'unit', update },
      inputs: { advisor: [b, h, 8, e], directions: [8, d] },
    })),
  ],
  transnormer: [
    ...['1+elu', 'elu', 'relu', 'identity'].map((phi) => ({ params: { phi, positions: 'lrpe' } })),
    { params: { positions: 'lrpe', causal: true }, inputs: { theta: [d / 2], reflection: [d] } },
    { params: { positions: 'lrpe', attention: 'diag', block: 5, weights: 'relu' }, inputs: { theta: [d / 2] } },
  ],
  sea: [{}, { params: { causal: true } }],
  'landmark-attention': [{ inputs: { miss: [g, d], gated: Int32Array.from({ length: n }, (_, i) => i % 2) } }],
  'retrieval-attention': [
    { params: { index: 'graph', topK: 2, first: 1, recent: 2 }, inputs: { queries: [b, 5, h, d] } },
    { params: { index: 'ivf', topK: 2, first: 1, recent: 2 } },
  ],
  l2vit: [{ inputs: { tau: [h] } }],
  'dilated-reparam-conv': [
    beside(13, '5_1', '7_2', '3_3', '3_4', '3_5'),
    beside(17, '5_1', '9_2', '3_4', '3_5', '3_7'),
    beside(9, '5_1', '5_2', '3_3', '3_4'),
    beside(5, '3_1', '3_2'),
  ],
  snnk: [
    {
      params: { activation: 'sin', split: 'symmetric' },
      inputs: { bias: [3], signs: Int32Array.of(1, -1) },
    },
  ],
  dydila: [
    { params: { normalise: 'sum' }, inputs: { ...redundant, lambda: [1] } },
    { inputs: { gamma: [2, 1] } },
    {
      inputs: {
        ...redundant,
        gamma: [4, 3],
        gamma_router: [4, d, 3],
        lambda: [3],
        lambda_router: [2, 2 * d, 3],
      },
    },
  ],
};

const runtime = await createRuntime({ backend: 'wasm', threads: 2 });
const reads = [
  vi.spyOn(Tensor.prototype, 'read'),
  vi.spyOn(Tensor.prototype, 'toHost'),
  vi.spyOn(runtime.backend, 'read'),
];
beforeEach(() => {
  for (const read of reads) read.mockClear();
});
afterAll(() => {
  for (const read of reads) read.mockRestore();
  runtime.dispose();
});

/** Uniform numbers, but for what has a definition of its own: of logarithms of decays the negative ones. */
function input(name: string, given: readonly number[] | Int32Array): Tensor {
  if (given instanceof Int32Array)
    return runtime.tensor(given, ['documents', 'policy'].includes(name) ? [b, n] : [given.length]);
  if (name === 'reflection') return runtime.tensor([0.6, 0, 0.8, 0], given);
  const numbers = uniform(sizeOf(given), name.length);
  return runtime.tensor(name === 'g' ? numbers.map((value) => -value) : numbers, given);
}

const shapeOf = (spec: string) =>
  spec
    .replace('...space', 'space0 space1')
    .split(' ')
    .map((letter) => EXTENTS[letter as keyof typeof EXTENTS] ?? Number(letter));

const settled = (results: Readonly<Record<string, Tensor>>) => {
  expect(Object.values(results).length).toBeGreaterThan(0);
  for (const tensor of Object.values(results)) expect(tensor).toBeInstanceOf(Tensor);
};

/** Promised outputs are read before they are there. */
const unpromised = methods.filter(({ promised = [] }) => promised.length === 0);

describe.each(unpromised.map((method) => [method.name, method as Method] as const))('%s', (name, method) => {
  const variants = method.variants(EXTENTS as Letters).map((params): Setting => ({ params }));
  const settings = [...variants, ...(SETTINGS[name] ?? [])];

  test('every optional input is tried', () => {
    const given = settings.flatMap(({ inputs = {} }) => Object.keys(inputs));
    const tried = new Set(given.filter((each) => !Object.hasOwn(method.inputs, each)));
    expect([...tried].sort()).toEqual(Object.keys(method.optional ?? {}).sort());
  });

  test.each(settings)('$params, given $inputs', async ({ params, inputs: optional = {} }) => {
    const { live } = runtime.memory();
    const required = Object.entries(method.inputs).map(([key, spec]) => [key, shapeOf(spec)] as const);
    const shapes = { ...Object.fromEntries(required), ...optional };
    const inputs = Object.fromEntries(Object.entries(shapes).map(([key, given]) => [key, input(key, given)]));
    const parsed = method.parse(params ?? {});
    const gradOut = runtime.random(shapeOf(method.outputs.out ?? '1'));
    const { results, gradients } =
      method.gradient === false
        ? { results: method.forward(inputs as never, parsed) as Record<string, Tensor>, gradients: {} }
        : differentiated(method, inputs, parsed, gradOut);
    settled(results);
    if (method.gradient !== false) settled(gradients);
    await runtime.finish();
    for (const read of reads) expect(read).not.toHaveBeenCalled();
    for (const tensor of [inputs, results, gradients].flatMap(Object.values<Tensor>)) tensor.dispose();
    gradOut.dispose();
    expect(runtime.memory().live).toBe(live);
  });
});

/** n = 512 and h = 4 heads of 32: inputs beside q, k and v, and the most calls of ops, forward and backward. */
const MANY_OPS = {
  'nats-linear': {
    others: { g: [1, 512, 4], beta: [1, 512, 4], route: [1, 8, 4, 2], mix: [1, 512, 4, 2] },
    most: [13, 31],
  },
  dydila: {
    others: {
      q_redundant: [1, 512, 4, 32],
      k_redundant: [1, 512, 4, 32],
      gamma: [4, 9],
      gamma_router: [4, 32, 9],
      lambda: [9],
      lambda_router: [2, 64, 9],
    },
    most: [13, 27],
  },
};

test.each(Object.entries(MANY_OPS))('%s makes few calls', (name, { others, most: [forward, backward] }) => {
  runtime.scope(() => {
    const shapes = { q: [1, 512, 4, 32], k: [1, 512, 4, 32], v: [1, 512, 4, 32], ...others };
    const given = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, input(key, shape)]));
    const method = methods.find((each) => each.name === name) as Method;
    const calls = vi.spyOn(runtime.calls, 'run');
    const { pull } = pullback((tensors) => method.forward(tensors as never, method.parse({})), given);
    expect(calls.mock.calls.length).toBeLessThanOrEqual(forward as number);
    calls.mockClear();
    pull({ out: given.q });
    expect(calls.mock.calls.length).toBeLessThanOrEqual(backward as number);
    calls.mockRestore();
  });
});
