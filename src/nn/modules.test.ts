import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../test/backends';
import { relativeError } from '../../test/describe-method';
import { expectClose } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { expectGradients } from '../../test/tape-gradients';
import { readSafetensors } from '../io';
import { pullback } from '../tape';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { attention } from './attention';
import { glu, mlp } from './mlp';
import type { Module } from './module';
import { norm } from './norm';
import { TrainingPass } from './training';

const fixture = Object.entries(
  readSafetensors(readFileSync(new URL('../../test/fixtures/modules.safetensors', import.meta.url))),
) as [string, HostTensor<'f32'>][];
const under = (prefix: string) =>
  Object.fromEntries(
    fixture.flatMap(([name, host]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), host]] : [])),
  );

const [width, hidden, heads] = [6, 5, 2];
const bias = { qkv: true, out: true };
/** What PyTorch has as well. */
const published: Readonly<Record<string, Module>> = {
  rms: norm({ width }),
  layer: norm({ kind: 'layer', width }),
  mlp: mlp({ width, hidden, bias: true }),
  glu: glu({ width, hidden, bias: true }),
  attention: attention({ width, heads, bias, params: { causal: true } }),
  batch: norm({ kind: 'batch', width }),
};

const cases: readonly (readonly [string, Module])[] = [
  // A variance of random numbers would be negative.
  ...Object.entries(published).filter(([name]) => name !== 'batch'),
  ['simple-rms', norm({ kind: 'simple-rms', width, epsilon: 0.1 })],
  ['a gate by ReLU, under other names', glu({ width, hidden, activation: 'relu', names: ['a', 'b', 'c'] })],
  ['a network with a sigmoid', mlp({ width, hidden, activation: 'sigmoid' })],
  [
    'attention with norms and positions',
    attention({ width, heads, keyHeads: 1, d: 4, qkNorm: {}, rope: { theta: 100 }, params: { causal: true } }),
  ],
];

describeOnBackends('modules of networks', (runtime) => {
  test.each(fewOnGpu(cases, 2))('%s: gradients are those of differences', async (_, module) => {
    const shapes = Object.entries(module.parameters).map(([name, { shape }]) => [name, shape]);
    await expectGradients(runtime(), {
      fn: ({ x, ...parameters }) => module.forward(x!, parameters),
      inputs: { x: [1, 3, width], ...Object.fromEntries(shapes) },
    });
  });

  test.each(fewOnGpu(Object.keys(published), 1))('%s: results and gradients are those of PyTorch', (name) =>
    scoped(runtime(), async () => {
      const { x, gradOut, out } = under(`${name}/`) as Record<'x' | 'gradOut' | 'out', HostTensor<'f32'>>;
      const { forward } = published[name] as Module;
      const tensors = (part: string) =>
        Object.fromEntries(
          Object.entries(under(`${name}/${part}/`)).map(([key, host]) => [key, runtime().fromHost(host)]),
        );
      const [input, parameters, buffers] = [runtime().fromHost(x), tensors('parameters'), tensors('buffers')];
      const training = new TrainingPass();
      const { results, pull } = pullback(({ x, ...given }) => forward(x, { ...given, ...buffers }, { training }), {
        x: input,
        ...parameters,
      });
      expect(relativeError(await results.toHost(), out)).toBeLessThan(1e-5);
      const gradients = pull(runtime().fromHost(gradOut)) as Record<string, Tensor>;
      // That of the keys' bias is zero, since it moves all scores of a row alike.
      for (const [key, { data }] of Object.entries(under(`${name}/gradients/`)))
        expectClose(await gradients[key]!.read(), data, 2e-5 * Math.max(1, ...data.map(Math.abs)));
      training.apply(buffers);
      for (const [key, { data }] of Object.entries(under(`${name}/after/`)))
        expectClose(await buffers[key]!.read(), data, 1e-6);
      const { inference = out } = under(`${name}/`) as Record<string, HostTensor<'f32'>>;
      const inferred = forward(input, { ...parameters, ...buffers });
      expect(relativeError(await inferred.toHost(), inference)).toBeLessThan(1e-5);
    }),
  );
});

test('settings that are none are refused by name', () => {
  const more = (given: object) => ({ width, hidden, ...given }) as never;
  expect(() => norm(more({ hidden: undefined }))).toThrow("config has no 'hidden': expected kind, width, epsilon");
  expect(() => norm({ width, kind: 'group' as never })).toThrow(
    'kind must be one of rms, unit-rms, simple-rms, layer, batch',
  );
  expect(() => norm({ width, momentum: 0.1 })).toThrow(
    'momentum must be a number from 0 to 1, of kind batch only, got',
  );
  expect(() => norm({ width, epsilon: -1 })).toThrow('epsilon must be a finite number >= 0, got -1');
  expect(() => mlp(more({ activation: 'tanh' }))).toThrow(
    'activation must be one of silu, gelu, gelu-tanh, relu, sigmoid',
  );
  expect(() => glu(more({ names: ['a', 'b', 'a'] }))).toThrow('names must be 3 different strings, got [');
  expect(() => glu(more({ bias: 1 }))).toThrow('bias must be true or false, got 1');
  const attend = (given: object) => () => attention({ width, heads, ...given });
  expect(attend({ bias: { k: true } })).toThrow("bias has no 'k': expected qkv, out");
  expect(attend({ rope: { theta: 0 } })).toThrow('theta of rope must be a finite number >= 1, got 0');
  expect(attend({ rope: {}, d: 3 })).toThrow('must be even, got 3');
  expect(attend({ qkNorm: { kind: 'batch' } })).toThrow('kind must be one of rms, unit-rms, simple-rms, layer, got');
  expect(attend({ qkNorm: { epsilon: Number.NaN } })).toThrow('epsilon must be a finite number >= 0, got NaN');
});
