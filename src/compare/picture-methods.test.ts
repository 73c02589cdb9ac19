import { expect, test } from 'vitest';
import { relativeError } from '../../test/describe-method';
import { expectRefusal } from '../../test/expect';
import { createRuntime } from '../index';
import { deitNetwork } from '../models/vision/deit';
import { initial } from '../nn/module';
import type { Picture } from '../pictures/picture';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { compare } from './compare';
import { networkInputs } from './network-inputs';
import { pictureMethods } from './picture-methods';

const SHAPE = [1, 6, 9, 2, 5];
const random = (seed: number) => hostTensor(Float32Array.from(normal(540, seed)), SHAPE, 'f32');

test.each(pictureMethods.map((method) => [method.name, method] as const))(
  '%s agrees with its reference',
  async (_, method) => {
    using runtime = await createRuntime({ threads: 1 });
    const isFlat = !method.inputs.q!.includes('space');
    const [q, k, v] = [1, 2, 3].map((seed) => ({ ...random(seed), shape: isFlat ? [1, 54, 2, 5] : SHAPE }));
    const letters = { 1: 1, b: 1, n: 54, m: 54, h: 2, g: 2, d: 5, e: 5, space0: 6, space1: 9 };
    for (const params of [...method.variants(letters), ...(isFlat ? [] : [{ side: 3 }])]) {
      const given = { q: runtime.fromHost(q!), k: runtime.fromHost(k!), v: runtime.fromHost(v!) };
      const { out } = method.forward(given, method.parse(params) as never) as never as { out: typeof given.q };
      const { out: expected } = method.reference({ q: q!, k: k!, v: v! }, method.parse(params) as never) as never as {
        out: typeof q;
      };
      expect(relativeError(await out.toHost(), expected!)).toBeLessThan(1e-5);
    }
  },
);

test('a layer of a network is compared on the grid of its tokens, with how far each variant reaches', async () => {
  using runtime = await createRuntime({ threads: 1 });
  const network = deitNetwork({ width: 12, heads: 3, depth: 2, patch: 4, patches: 5 }, { classes: 3 });
  const pictures = { size: 20, interpolation: 'bilinear', mean: [0, 0, 0], std: [1, 1, 1] };
  const model = { name: 'deit', parse: () => ({}), create: () => ({ pictures }), network: () => network } as never;
  const given = { model, params: {}, parameters: initial(network, runtime), isRandom: true };
  const picture: Picture = { width: 24, height: 20, rgb: Float32Array.from(normal(1440, 1), (x) => x / 4 + 0.5) };
  const named = { name: 'noise', picture };
  const { inputs, description } = await networkInputs(runtime, given, named, 1);
  expect(Object.values(inputs).map(({ shape }) => shape)).toEqual(Array(3).fill([1, 5, 5, 3, 4]));
  expect(description).toContain(
    'Layer 1 of attention of deit on noise: 5 × 5 tokens, 3 heads of 4 dimensions. Its weights are random',
  );
  const { rows } = await compare(inputs, { seconds: 0 });
  const reaches = Object.fromEntries(rows.map((row) => [row.label, 'reach' in row ? row.reach : undefined]));
  expect(reaches['exact full']).toBe(5);
  expect(Object.keys(reaches).filter((label) => /^BRA|^pruned/.test(label)).length).toBeGreaterThan(1);
  await expectRefusal(
    runtime,
    () => networkInputs(runtime, given, named, 2),
    '--layer must be below the 2 layers of attention of deit, got 2',
  );
});
