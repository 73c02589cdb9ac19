/** Methods as layers of a model: gradients reach the tokens, the projections and what a method asks for beside them. */
import { expect, test } from 'vitest';
import { PARAMS } from '../../test/method-params';
import { expectGradients } from '../../test/tape-gradients';
import { createRuntime, matmul, type Tensor } from '../index';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import type { LayerParameter, Method } from './define';
import { methods } from './registry';

const [N, WIDTH, HEADS, D] = [4, 3, 2, 3];
const CONFIG = { width: WIDTH, heads: HEADS, keyHeads: HEADS, d: D, e: D, layer: 0, layers: 1 };

/** Short queries and keys, so that random features of them are far from what keeps these in range. */
const PROJECTION = { shape: [HEADS * D, WIDTH], initial: { std: 0.5 } };
const PROJECTIONS = ['q_proj', 'k_proj', 'v_proj'];

/** Settings, in place of the defaults, with which a method asks for more, and all that it asks for matters. */
const SETTINGS: Readonly<Record<string, readonly Record<string, unknown>[]>> = {
  'stochastic-attention': [{ window: 2 }, { window: 2, gated: true }],
  'nats-linear': [{ chunk: 2 }],
  'simprune-attention': [{ grid: [2, 2] }],
  transnormer: [{}, { positions: 'lrpe' }],
};

/** Parameters of choices: their gradient is that of a softmax in place of the choice. */
const OF_CHOICES = /^route_|_router\./;

/** Coarse enough that steps of differences round nothing. */
const coarse = (values: ArrayLike<number>) => Float32Array.from(values, (value) => Math.round(4096 * value) / 4096);

function initial({ shape, initial }: LayerParameter, seed: number) {
  const size = sizeOf(shape);
  if ('value' in initial) return hostTensor(coarse(new Float32Array(size).fill(initial.value)), shape);
  if ('values' in initial) return hostTensor(coarse(initial.values), shape);
  return hostTensor(coarse(normal(size, seed).map((value) => initial.std * value)), shape);
}

const cases = methods
  // What an estimator of maps gives is chosen from, and has hardly a gradient: it has a test of its own.
  .filter(({ name, inputs, gradient }: Method) => 'q' in inputs && gradient !== false && name !== 'sea')
  .flatMap((method: Method) =>
    (SETTINGS[method.name] ?? [PARAMS[method.name] ?? {}]).map((params) => [method.name, params, method] as const),
  );

test.each(cases)('%s %j', async (_, given, method) => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const params = method.parse(given);
  const space = method.inputs.q?.includes('...space') ? [2, N / 2] : [N];
  const layer = method.layer?.(CONFIG, params);
  const queries = (layer?.queries ?? []).map((each) => `${each}_proj`);
  const parameters = Object.entries(layer?.parameters ?? {}).map(([key, each], at) => [key, initial(each, at)]);
  const gradients = await expectGradients(runtime, {
    fn({ x, q_proj, k_proj, v_proj, ...others }) {
      const project = (weight: Tensor) =>
        matmul(x as Tensor, weight.permute([1, 0])).reshape([1, ...space, HEADS, D]) as Tensor;
      const qkv = { q: project(q_proj!), k: project(k_proj!), v: project(v_proj!) };
      const more = Object.fromEntries(queries.map((each) => [each.slice(0, -5), project(others[each]!)]));
      const { out } = method.forward({ ...qkv, ...more, ...layer?.inputs(x!, qkv, others) } as never, params);
      return { out: out as Tensor };
    },
    inputs: {
      x: [1, N, WIDTH],
      ...Object.fromEntries([...PROJECTIONS, ...queries].map((key, at) => [key, initial(PROJECTION, at + 100)])),
      ...Object.fromEntries(parameters),
    },
    except: (key) => OF_CHOICES.test(key),
  });
  for (const [key, gradient] of Object.entries(gradients)) {
    expect(gradient.every(Number.isFinite), key).toBe(true);
    expect(
      gradient.some((value) => value !== 0),
      key,
    ).toBe(true);
  }
});
