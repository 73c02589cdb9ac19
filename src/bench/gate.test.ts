import { expect, test } from 'vitest';
import { WrongResultError } from '../measure/gate';
import { createRuntime } from '../ops/create-runtime';
import { backward } from './attention-operations';
import { gateOf } from './gate';
import { inputsOf, MASK_NAMES, MASKS, type MaskName, type Problem } from './problem';
import { Runtimes } from './runtimes';
import { saccade } from './saccade';

const SMALL: Problem = { n: 40, h: 2, d: 8, mask: MASKS.full };

async function rightResult(problem: Problem): Promise<Float32Array> {
  const runtimes = new Runtimes(() => createRuntime({ backend: 'reference' }));
  const { signal } = new AbortController();
  const session = await saccade(runtimes, {}).open({ problem, inputs: inputsOf(problem) }, signal);
  await session.time(1, signal);
  return session.result(signal);
}

test.each(MASK_NAMES)('the right result passes under the mask %s and under no other', async (mask: MaskName) => {
  const problem = { ...SMALL, n: 270, h: 1, mask: MASKS[mask] };
  const out = await rightResult(problem);
  expect((await gateOf(problem, inputsOf(problem)))(out)).toBeLessThan(1e-6);
  for (const other of MASK_NAMES.filter((name) => name !== mask)) {
    const gate = await gateOf({ ...problem, mask: MASKS[other] }, inputsOf(problem));
    expect(() => gate(out)).toThrow(WrongResultError);
  }
});

test('one wrong number anywhere in a short result is found', async () => {
  const gate = await gateOf(SMALL, inputsOf(SMALL));
  const right = await rightResult(SMALL);
  for (const at of [0, 333, right.length - 1]) {
    const wrong = right.slice();
    wrong[at] = (wrong[at] as number) + 1e-3;
    expect(() => gate(wrong)).toThrow('differs from the float64 reference');
  }
});

test('NaN is wrong, also beside right numbers', async () => {
  const out = await rightResult(SMALL);
  out[5] = Number.NaN;
  const gate = await gateOf(SMALL, inputsOf(SMALL));
  expect(() => gate(out)).toThrow(WrongResultError);
});

test('a result of another length is wrong', async () => {
  const gate = await gateOf(SMALL, inputsOf(SMALL));
  expect(() => gate(new Float32Array(3))).toThrow('3 numbers instead of 640');
});

test('of a long result the first and the last query are checked', async () => {
  const problem = { ...SMALL, n: 300, h: 1 };
  const gate = await gateOf(problem, inputsOf(problem));
  const right = await rightResult(problem);
  for (const at of [0, right.length - 1]) {
    const wrong = right.slice();
    wrong[at] = 9;
    expect(() => gate(wrong)).toThrow(WrongResultError);
  }
});

test('in f16 the inputs are rounded first, and a result may be off by two roundings, not by more', async () => {
  const problem: Problem = { ...SMALL, dtype: 'f16' };
  const inputs = inputsOf(problem);
  expect(inputs.q).not.toEqual(inputsOf(SMALL).q);
  const gate = await gateOf(problem, inputs);
  const right = await rightResult(problem);
  expect(gate(right)).toBeLessThan(2 ** -11);
  const largest = inputs.v.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const off = (by: number) => right.map((value, at) => (at === 7 ? value + by * largest : value));
  expect(gate(off(0.4 * 2 ** -10))).toBeLessThan(2 ** -10);
  expect(() => gate(off(2 ** -9))).toThrow('allowed are 0.00099');
});

const GRADIENTS: Problem = { n: 30, h: 4, g: 2, d: 8, mask: MASKS.causal, operation: backward };

test('right gradients pass, and one wrong number in any of them is found', async () => {
  const { n, h, g = h, d } = GRADIENTS;
  const gate = await gateOf(GRADIENTS, inputsOf(GRADIENTS));
  const right = await rightResult(GRADIENTS);
  expect(gate(right)).toBeLessThan(1e-6);
  const [byQ, byK] = [n * h * d, n * g * d];
  for (const [at, by] of [
    [byQ - 1, 'q'],
    [byQ, 'k'],
    [byQ + byK - 1, 'k'],
    [byQ + byK, 'v'],
    [right.length - 1, 'v'],
  ] as const) {
    const wrong = right.slice();
    wrong[at] = (wrong[at] as number) + 1e-3;
    expect(() => gate(wrong)).toThrow(`of the largest gradient with respect to ${by}`);
  }
});

test('gradients under another mask are wrong', async () => {
  const right = await rightResult(GRADIENTS);
  const other = { ...GRADIENTS, mask: MASKS.full };
  const gate = await gateOf(other, inputsOf(other));
  expect(() => gate(right)).toThrow(WrongResultError);
});

test('of gradients with respect to many keys those of the last head are checked, in sums over all queries', async () => {
  const problem = { ...GRADIENTS, n: 300, h: 2, g: 2 };
  const gate = await gateOf(problem, inputsOf(problem));
  const right = await rightResult(problem);
  expect(gate(right)).toBeLessThan(1e-6);
  for (const at of [0, right.length / 3 + problem.d, right.length - 1]) {
    const wrong = right.slice();
    wrong[at] = 9;
    expect(() => gate(wrong)).toThrow(WrongResultError);
  }
});
