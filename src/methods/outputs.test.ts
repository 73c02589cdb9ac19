import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as valibot from 'valibot';
import { expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { ParameterError } from '../errors';
import { compare, createRuntime, pullback, type Tensor } from '../index';
import { readSafetensors, writeSafetensors } from '../io';
import { defineMethod, withGradients } from './define';
import { exactAttention } from './dense/attention';
import { settled } from './outputs';

/** Exact attention, and the indices of the elements of v above a threshold: as many as there are. */
const above = defineMethod({
  name: 'above',
  family: 'mine',
  summary: 'exact attention, and which values are large',
  inputs: { q: 'b n h d', k: 'b m h d', v: 'b m h e' },
  outputs: { out: 'b n h e', lse: 'b n h', found: 'count' },
  promised: ['found'],
  params: valibot.strictObject({ threshold: valibot.optional(valibot.number(), 0) }),
  forward({ q, k, v }, { threshold }) {
    const { runtime } = q;
    return runtime.scope(() => {
      const found = v.read().then((values) => {
        if (threshold > 10) throw new ParameterError('nothing is above it');
        const indices = [...values.keys()].filter((at) => (values[at] as number) > threshold);
        return runtime.tensor(indices, [indices.length], 'i32');
      });
      return { ...exactAttention.forward({ q, k, v }, exactAttention.parse({})), found };
    });
  },
  reference: (inputs) => exactAttention.reference(inputs, exactAttention.parse({})),
  cost: ({ b, n, m, h, d, e }) => ({ flops: 2 * b * n * m * h * (d + e), bytes: 0, state: 0 }),
  variants: () => [{}],
});

test('an output whose extents the data decides is a promise, and leaves nothing behind', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const [q, k] = [runtime.random([1, 4, 1, 2]), runtime.random([1, 4, 1, 2])];
  const v = runtime.tensor([1, -1, 2, 3, -4, -5, 6, 7], [1, 4, 1, 2]);
  const { live } = runtime.memory();
  const { out, lse, found } = above.forward({ q, k, v }, { threshold: 1.5 });
  const indices: Tensor = await found;
  expect([...(await indices.read())]).toEqual([2, 3, 6, 7]);
  for (const each of [out, lse, indices]) each.dispose();
  const { rows } = await compare({ q, k, v }, { methods: [above], seconds: 0.01 });
  expect(rows.find(({ method }) => method === 'above')).toMatchObject({ error: { relativeL2: 0 } });
  await expect(settled(above.forward({ q, k, v }, { threshold: 11 }))).rejects.toThrow('nothing is above it');
  expect(runtime.memory().live).toBe(live);
});

test('it has no gradient, and is refused one by name', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const random = (seed: number) => runtime.random([1, 3, 1, 2], { seed });
  const inputs = { q: random(1), k: random(2), v: random(3) };
  const call = () => pullback((given) => above.forward(given, { threshold: 0 }), inputs);
  const { results, pull } = call();
  const [found, out] = [await results.found, results.out];
  expect(found.dtype).toBe('i32');
  expect(() => call().pull({ found } as never)).toThrow('gradients.found: the data decides the extents of this result');
  expect(pull({ out }).v.shape).toEqual([1, 3, 1, 2]);
  const only = { ...above, promised: ['out'] };
  expect(() => withGradients(only as never, inputs)).toThrow('above has no gradient: the data decides the extents of');
});

test('a promise that is not declared, or the lack of one, is refused by name', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const q = runtime.random([1, 3, 1, 2]);
  const other = (promised: readonly string[]) => defineMethod({ ...above, promised } as never);
  const forward = (promised: readonly string[]) => () =>
    other(promised).forward({ q, k: q, v: q } as never, {} as never);
  expect(forward([])).toThrow('found of above is not declared as promised, got a promise');
  expect(forward(['found', 'out'])).toThrow('out of above must be a promise of a tensor, got ');
});

test('run waits for it and writes it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-promised-'));
  try {
    const path = (name: string) => join(folder, name);
    Object.assign(globalThis, { above });
    await writeFile(path('above.mjs'), 'export default globalThis.above;');
    const v = { dtype: 'f32', shape: [1, 2, 1, 2], data: Float32Array.of(1, -1, -2, 3) } as const;
    await writeFile(path('in'), writeSafetensors({ q: v, k: v, v }));
    const command = ['run', path('above.mjs'), '--in', path('in'), '--out', path('out')];
    const { stdout, stderr } = await saccade(...command);
    expect({ stdout, stderr }).toEqual({
      stdout: `${path('out')}: out [1, 2, 1, 2] f32, lse [1, 2, 1] f32, found [2] i32\n`,
      stderr: '',
    });
    expect([...readSafetensors(await readFile(path('out'))).found!.data]).toEqual([0, 3]);
    await expectRefusal([...command, '--params', '{"threshold": 11}'], 'nothing is above it');
  } finally {
    await rm(folder, { recursive: true });
  }
});
