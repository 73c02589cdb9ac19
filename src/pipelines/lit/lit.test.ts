import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectClose } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { createRuntime, type Runtime } from '../../index';
import { initial } from '../../nn';
import { partOf } from '../../nn/module';
import { normal } from '../../tensor/random';
import type { Weights } from '../layers';
import { openStudio } from '../paint/studio';
import { compareTransformers, parametersOf, type TransformerRow } from './compare';
import { ATTENTIONS, type AttentionKind, attended, type LitConfig, litParameters } from './network';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', threads: 1 });
});
afterAll(() => runtime.dispose());

test('all kinds have as many parameters, but for a part of a unit of the hidden layers', () => {
  const [first, ...others] = ATTENTIONS.map(parametersOf) as [number, ...number[]];
  for (const each of others) expect(Math.abs(each / first - 1)).toBeLessThan(0.001);
});

test('attention without what sets its kind apart is that of the kind before', () =>
  scoped(runtime, async () => {
    const configOf = (kind: AttentionKind): LitConfig => ({ kind, width: 8, heads: 2, depth: 1, classes: 2 });
    const parametersOf = (kind: AttentionKind) => {
      const all = initial({ parameters: litParameters(configOf(kind)) }, runtime, 3);
      return partOf(all, 'blocks.0');
    };
    const x = runtime.tensor(normal(2 * 16 * 8, 1), [2, 16, 8]);
    const resultOf = async (kind: AttentionKind, p: Weights) => attended(p, configOf(kind), x).read();
    const own = parametersOf('differential');
    const routed = parametersOf('dydila');
    const focused = await resultOf('focused', own);
    const none = runtime.tensor([0], [1]);
    expectClose(await resultOf('differential', { ...own, lambda: none }), focused, 1e-6);
    // With equal matrices, exponents and shares it does not matter which a token picks.
    const alike = (name: string) => {
      const values = normal(64, name.length);
      return {
        [`${name}_proj.weight`]: runtime.tensor([...values, ...values, ...values], [3, 8, 8]),
        [`${name}.weight`]: runtime.tensor(values, [8, 8]),
        [`${name}.bias`]: runtime.full([8], 0),
      };
    };
    const redundant = { ...alike('q_redundant'), ...alike('k_redundant') };
    const differential = await resultOf('differential', { ...own, ...redundant });
    expectClose(await resultOf('dydila', { ...routed, ...own, ...redundant, ...bankOf(routed) }), differential, 1e-5);
  }));

/** The exponents and shares of a routed block, and what picks them. */
const bankOf = (p: Weights): Weights =>
  Object.fromEntries(Object.entries(p).filter(([name]) => /^(gamma|lambda)|router/.test(name)));

test('compares what it trains, and trains none again', async () => {
  using studio = await openStudio(runtime);
  const settings = {
    attentions: ['softmax', 'dydila'],
    seeds: 1,
    steps: 2,
    batch: 2,
    pictures: 3,
    sampled: 2,
  } as const;
  const seen: TransformerRow[] = [];
  const { rows, drawn, parameters } = await compareTransformers(studio, settings, {
    onRow(row, painted) {
      seen.push(row);
      expect(painted).toHaveLength(3 * 64 ** 2);
    },
  });
  expect(seen).toEqual(rows);
  expect(rows.map(({ attention, seed }) => [attention, seed])).toEqual([
    ['softmax', 0],
    ['dydila', 0],
  ]);
  for (const { loss, distance } of rows) for (const each of [loss, distance]) expect(each).toBeGreaterThan(0);
  expect(rows.map(({ losses }) => losses.length)).toEqual([2, 2]);
  const [softmax, dydila] = rows as [TransformerRow, TransformerRow];
  expect([softmax.evenness, softmax.routes, dydila.evenness]).toEqual([undefined, undefined, expect.any(Number)]);
  const [most = 0, ...others] = dydila.routes ?? [];
  expect([most >= Math.max(...others), others.reduce((sum, each) => sum + each, most).toFixed(5)]).toEqual([
    true,
    '1.00000',
  ]);
  expect(drawn).toBeGreaterThan(0);
  expect(Object.keys(parameters)).toEqual(['softmax', 'dydila']);
  const earlier = rows.map((row) => ({ ...row, loss: 7 }));
  const again = await compareTransformers(studio, settings, { earlier, onRow: () => expect.unreachable() });
  expect(again.rows).toEqual(earlier);
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(compareTransformers(studio, settings, { signal })).rejects.toThrow('enough');
  await expect(compareTransformers(studio, { ...settings, attentions: ['sofmax'] as never })).rejects.toThrow(
    'attentions must be some of softmax, relu, focused, differential, dydila, each once',
  );
});
