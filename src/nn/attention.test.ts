import { expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { relativeError } from '../../test/describe-method';
import { expectRefusal } from '../../test/expect';
import { PARAMS } from '../../test/method-params';
import { scoped } from '../../test/scoped';
import { expectGradients } from '../../test/tape-gradients';
import { exactAttention, gatedDeltaRule, neighborhoodAttention, parallax } from '../methods';
import type { Method } from '../methods/define';
import { methods } from '../methods/registry';
import { type HostTensor, hostTensor } from '../tensor/host';
import { type AttentionConfig, attention } from './attention';
import { initial } from './module';

const [b, width] = [2, 4];

const neighborhood = { method: neighborhoodAttention as Method, params: { window: [2, 2] } };

/** Beside methods of every kind all that ask for more than q, k and v. */
const cases: readonly (readonly [name: string, config: AttentionConfig])[] = [
  ['exact attention', { width, heads: 2 }],
  ['grouped heads of their own extents', { width, heads: 4, keyHeads: 2, d: 3, e: 2, params: { causal: true } }],
  ['tokens on a grid', { width, heads: 2, grid: [2, 3], ...neighborhood }],
  ...methods
    .filter(({ layer }) => layer)
    .map(
      (method) =>
        [`the layer of ${method.name}`, { width, heads: 2, method, params: { ...PARAMS[method.name] } }] as const,
    ),
];

/** x w^T in float64, of rows of any number. */
function times({ data, shape }: HostTensor, w: HostTensor): HostTensor<'f32'> {
  const [columns, inner] = w.shape as [number, number];
  const rows = data.length / inner;
  const product = Float32Array.from({ length: rows * columns }, (_, at) => {
    const [r, c] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let i = 0; i < inner; i++) sum += (data[r * inner + i] as number) * (w.data[c * inner + i] as number);
    return sum;
  });
  return hostTensor(product, [...shape.slice(0, -1), columns]);
}

describeOnBackends('multi-head attention', (runtime) => {
  test.each(cases)('%s is the method between projections', (_, config) =>
    scoped(runtime(), async () => {
      const { heads, keyHeads = heads, d = width / heads, e = d, grid = [6] } = config;
      const module = attention(config);
      const parameters = initial(module, runtime(), 5);
      const x = runtime().random([b, 6, width], { seed: 6 });
      const host = await x.toHost();
      const weight = (name: string) => parameters[`${name}_proj.weight`]!.toHost();
      const project = async (name: string, count: number, size: number) => ({
        ...times(host, await weight(name)),
        shape: [b, ...grid, count, size],
      });
      const qkv = {
        q: await project('q', heads, d),
        k: await project('k', keyHeads, d),
        v: await project('v', keyHeads, e),
      };
      const { method = exactAttention as Method } = config;
      const params = method.parse(config.params ?? {});
      const tensors = { q: runtime().fromHost(qkv.q), k: runtime().fromHost(qkv.k), v: runtime().fromHost(qkv.v) };
      const layer = method.layer?.({ width, heads, keyHeads, d, e, layer: 0, layers: 1 }, params);
      const others = Object.entries(layer?.inputs(x, tensors, parameters) ?? {});
      const hosts = await Promise.all([
        ...others.map(async ([name, each]) => [name, await each.toHost()] as const),
        ...(layer?.queries ?? []).map(async (name) => [name, await project(name, heads, d)] as const),
      ]);
      const { out } = method.reference({ ...qkv, ...Object.fromEntries(hosts) }, params);
      const rows = { ...(out as HostTensor), shape: [b, 6, heads * e] } as HostTensor;
      const expected = times(rows, await weight('o'));
      expect(relativeError(await module.forward(x, parameters).toHost(), expected)).toBeLessThan(2e-5);
    }),
  );

  test.each(cases.slice(1, 3))('%s: gradients are those of differences', async (_, config) => {
    const module = attention(config);
    const shapes = Object.entries(module.parameters).map(([name, { shape }]) => [name, shape]);
    await expectGradients(runtime(), {
      fn: ({ x, ...parameters }) => module.forward(x!, parameters),
      inputs: { x: [1, 6, width], ...Object.fromEntries(shapes) },
    });
  });

  test('tokens that do not fit are refused', () =>
    scoped(runtime(), async () => {
      const row = attention({ width, heads: 2 });
      const parameters = initial(row, runtime());
      const [wide, x] = [runtime().random([1, 6, 5]), runtime().random([1, 6, width])];
      await expectRefusal(runtime(), () => row.forward(wide, parameters), 'x must have shape [b, n, 4], got [1, 6, 5]');
      const grid = attention({ width, heads: 2, grid: [3, 3], ...neighborhood });
      await expectRefusal(runtime(), () => grid.forward(x, parameters), 'x must have 9 tokens');
    }));
});

test('a method whose layer has a parameter of the name of another is refused', () => {
  const layer = () => ({ parameters: { 'q_norm.weight': { shape: [2], initial: { value: 1 } } }, inputs: () => ({}) });
  const config = { width: 4, heads: 2, qkNorm: {}, method: parallax };
  vi.spyOn(parallax, 'layer').mockImplementation(layer);
  expect(() => attention(config)).toThrow("the layer of method parallax has a parameter 'q_norm.weight', which any");
  vi.restoreAllMocks();
});

test('settings that are none are refused by name', () => {
  const make = (more: object) => () => attention({ width: 4, heads: 2, ...more });
  expect(make({ method: 'attention' })).toThrow('method must be a method: one of saccade/methods, or what findMethod');
  expect(make({ params: { causal: 1 } })).toThrow('param causal of attention: expected');
  expect(make({ heads: 3 })).toThrow('heads must divide the width 4 unless d is given, got 3');
  expect(make({ keyHeads: 3 })).toThrow('keyHeads must divide the heads 2, got 3');
  expect(make({ method: gatedDeltaRule, keyHeads: 1 })).toThrow('keyHeads of gated-delta-rule must be as many');
  expect(make({ layer: 1 })).toThrow('layer must be an integer from 0 to 0, got 1');
  expect(make({ grid: [2, 3] })).toThrow('grid is of spatial methods: attention is of sequences, got [2, 3]');
  const spatial = (grid?: unknown) => make({ ...neighborhood, grid });
  expect(spatial()).toThrow('grid must be given: neighborhood-attention is of tokens on one');
  expect(spatial([2, 0])).toThrow('grid must be integers >= 1, got 0 at element 1');
  expect(spatial([1, 1, 1, 1])).toThrow('grid must have one to three axes');
  expect(make({ dropout: 0.1 })).toThrow("config has no 'dropout': expected method, params, width");
});
