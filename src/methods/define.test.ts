import * as valibot from 'valibot';
import { describe, expect, test } from 'vitest';
import { expectRefusal } from '../../test/expect';
import { PARAMS } from '../../test/method-params';
import { ParameterError, UnsupportedError } from '../errors';
import { createRuntime, type Runtime, type Tensor } from '../index';
import { band, from } from '../masks';
import { createDecoder } from '../models';
import { attention } from '../nn';
import type { Continuation } from './continuation';
import { defineMethod, type Method, withGradients } from './define';
import { defineMaskedMethod } from './masked';
import { findMethod, methods } from './registry';

/** The layer of a decoder. */
const TINY = {
  model_type: 'llama',
  vocab_size: 5,
  hidden_size: 4,
  intermediate_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 1,
};

/** Extents of all letters that fit every method. */
const EXTENTS: Readonly<Record<string, number>> = {
  b: 1,
  n: 6,
  m: 6,
  h: 2,
  g: 2,
  d: 4,
  e: 4,
  c: 1,
  o: 2,
  a: 2,
  k: 13,
  p: 5,
  r: 2,
  s: 3,
  t: 7,
  u: 3,
  v: 3,
  l: 3,
  w: 5,
  rows: 2,
  columns: 2,
  places: 9,
};

/** The inputs of a method, of numbers that gates may have too. */
function inputsOf(runtime: Runtime, { inputs }: Method): Record<string, Tensor> {
  const shapes = Object.entries(inputs).map(([name, spec]) => {
    const shape = spec
      .replace('...space', 'n')
      .split(' ')
      .map((letter) => EXTENTS[letter] ?? Number(letter));
    return [name, runtime.tensor(new Float32Array(shape.reduce((a, c) => a * c)).fill(-0.5), shape)] as const;
  });
  return Object.fromEntries(shapes);
}

test.each(methods.map((method) => [method.name, method] as const))(
  '%s refuses what is missing, disposed or of another runtime by name',
  async (name, method) => {
    using runtime = await createRuntime({ backend: 'reference' });
    const params = method.parse(PARAMS[name] ?? {});
    for (const input of Object.keys(method.inputs)) {
      const given = inputsOf(runtime, method);
      const missing = { ...given, [input]: undefined } as never;
      await expectRefusal(runtime, () => method.forward(missing, params), `${input} must be a Tensor, got undefined`);
      given[input]!.dispose();
      await expectRefusal(runtime, () => method.forward(given as never, params), `${input}: the tensor of shape`);
    }
    const given = inputsOf(runtime, method);
    if (Object.keys(given).length === 1) return;
    using elsewhere = await createRuntime({ backend: 'reference' });
    const [first, last] = [Object.keys(given)[0]!, Object.keys(given).at(-1)!];
    const mixed = { ...given, [last]: inputsOf(elsewhere, method)[last] } as never;
    await expectRefusal(
      runtime,
      () => method.forward(mixed, params),
      `${last} lives on another runtime than ${first}: make both with the same runtime`,
    );
  },
);

test('how methods go on is what they say, or follows from what they take and give', () => {
  const of = (method: Method, params = {}) => method.continuation(method.parse(params));
  expect(of(findMethod('gated-delta-rule'))).toEqual({ from: 'state', state: { initial_state: 'state' } });
  expect(of(findMethod('performer'))).toEqual({ from: 'inputs' });
  // The mask of one length is that of any other, or else it may depend on it.
  expect(of(findMethod('power-attention')).from).toBe('keys');
  const { continuation: _, ...power } = findMethod('power-attention');
  const made = defineMaskedMethod({
    ...power,
    mask: () => from((_b, _h, q, k) => k <= q),
    sees: () => () => true,
  });
  expect(of(made).from).toBe('inputs');
  const said = (continuation: unknown) => () =>
    of(defineMethod({ ...findMethod('performer'), continuation: () => continuation as Continuation }));
  expect(said({ from: 'memory' })).toThrow(
    "from of continuation of performer must be one of state, keys, inputs, own, got 'memory'",
  );
  expect(said({ from: 'keys' })).toThrow('attend of continuation of performer must be a function, got undefined');
  expect(said({ from: 'state', state: { initial_state: 'state' } })).toThrow(
    "state of continuation of performer must name optional inputs and their outputs, got 'state' for initial_state",
  );
});

test('a paper is named by its number', () => {
  const paper = { title: 'Rethinking Attention with Performers', arxiv: '2009.14794' };
  expect(() => defineMethod({ ...findMethod('performer'), paper: paper as never })).toThrow(
    "paper of performer must be an arXiv number such as '1706.03762', got ",
  );
});

test('methods are found by their names', () => {
  for (const method of methods) expect(findMethod(method.name)).toBe(method);
  expect(() => findMethod('toString')).toThrow(
    'method must be one of attention, kernel-ridge, random-feature-attention',
  );
});

describe('types follow from the declaration', () => {
  const mine = defineMethod({
    name: 'mine',
    family: 'mine',
    summary: 'v, and the rows of q if asked for',
    inputs: { q: 'b n h d', v: 'b n h e' },
    optional: { gate: 'b n h' },
    outputs: { out: 'b n h e', rows: 'b n h d' },
    sometimes: ['rows'],
    params: valibot.strictObject({ block: valibot.number(), rows: valibot.optional(valibot.boolean(), false) }),
    forward: ({ q, v, gate }, { rows }) => ({ out: gate ?? v, ...(rows && { rows: q }) }),
    reference: () => ({}),
    cost: ({ b, n, h, d, e }) => ({ flops: b * n * h * (d + e), bytes: 0, state: 0 }),
    variants: () => [{ block: 1 }],
  });
  const masked = defineMaskedMethod({
    name: 'masked',
    family: 'mine',
    summary: 'a window',
    params: valibot.strictObject({ window: valibot.number() }),
    mask: ({ window }) => band(window, 0),
    sees:
      ({ window }) =>
      (i, j) =>
        j <= i && i - j <= window,
    variants: () => [{ window: 1 }],
  });

  test('params', () => {
    expect(mine.parse({ block: 1 }).rows satisfies boolean).toBe(false);
    const refused = [
      // @ts-expect-error another name
      () => mine.parse({ blok: 64 }),
      // @ts-expect-error another type
      () => mine.parse({ block: '64' }),
      // @ts-expect-error a param that is missing
      () => masked.parse({}),
      // @ts-expect-error another name, of a method that is found by its own
      () => findMethod('power-attention').parse({ blok: 64 }),
      // @ts-expect-error another name, in a layer
      () => attention({ width: 4, heads: 1, method: masked, params: { windows: 1 } }),
      // @ts-expect-error another name, in a layer of exact attention
      () => attention({ width: 4, heads: 1, params: { causal: true, windows: 1 } }),
      // @ts-expect-error another name, in all layers of a decoder
      () => createDecoder(TINY, { attention: { method: masked, params: { windows: 1 } } }),
      // @ts-expect-error a name in place of a method
      () => createDecoder(TINY, { attention: 'attention' }),
    ];
    for (const call of refused) expect(call).toThrow(ParameterError);
  });

  test('inputs and outputs', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const [q, v] = [runtime.random([1, 2, 1, 3]), runtime.random([1, 2, 1, 4])];
    const { out, rows } = mine.forward({ q, v, gate: undefined }, mine.parse({ block: 1 }));
    expect(out.shape).toEqual(v.shape);
    // @ts-expect-error it may be missing
    expect(() => rows.shape).toThrow(TypeError);
    const { lse } = masked.forward({ q, k: q, v }, masked.parse({ window: 1 }));
    expect(lse.shape).toEqual([1, 2, 1]);
    // @ts-expect-error an input that is missing
    expect(() => mine.forward({ q }, mine.parse({ block: 1 }))).toThrow('v must be a Tensor, got undefined');
    const any: Method = mine;
    expect((any.forward({ q, v }, { rows: true }).rows as Tensor).shape).toEqual(q.shape);
  });
});

test('what is declared to have no gradient is refused one by name', () => {
  const chooses = { ...methods[0]!, name: 'chooses', gradient: false } as const;
  expect(() => withGradients(chooses, {})).toThrow(new UnsupportedError('chooses has no gradient'));
});
