import { expect, test } from 'vitest';
import { ParameterError } from '../errors';
import { contiguousImbalance, type Mechanism, simulateContextParallel } from './context-parallel';

const GQA = { heads: 64, keyHeads: 8, d: 128 };

function costs(devices: number, change: object = {}) {
  const all = simulateContextParallel({ ...GQA, devices, tokens: 8192 * devices, ...change });
  return Object.fromEntries(all.map((cost) => [cost.mechanism, cost])) as Record<Mechanism, (typeof all)[number]>;
}

test.each([
  [8, 132.1, 117.4, 132.1],
  [16, 141.6, 251.7, 148.9],
  [32, 146.3, 520.1, 182.5],
  [64, 148.6, 1057.0, 249.6],
  [96, 149.4, 1593.8, 316.7],
])('%i devices send what the sheet says, in million elements', (devices, ulysses, ring, hybrid) => {
  const found = costs(devices);
  const sent = (name: Mechanism) => Number((found[name].forward.elementsSent / 1e6).toFixed(1));
  expect(sent('ulysses')).toBeCloseTo(ulysses, 1);
  for (const name of ['ring', 'all-gather'] as const) expect(sent(name)).toBeCloseTo(ring, 1);
  for (const name of ['usp', 'loongtrain'] as const) expect(sent(name)).toBeCloseTo(hybrid, 1);
  expect(found.ring.backward.elementsSent).toBe(2 * found.ring.forward.elementsSent);
  expect(found.ulysses.backward.elementsSent).toBe(found.ulysses.forward.elementsSent);
});

test('a ring hides its hops behind computing, until steps are shorter than hops', () => {
  const slow = { within: { seconds: 1e-6, bytesPerSecond: 1e9 }, between: { seconds: 1e-6, bytesPerSecond: 1e9 } };
  const one = { tokens: 8, devices: 4, heads: 1, d: 1, bytes: 4, causal: false, flopsPerSecond: 1e6, ...slow };
  const [forward] = simulateContextParallel({ ...one, keyHeads: 1 })
    .filter(({ mechanism }) => mechanism === 'ring')
    .map((cost) => cost.forward);
  // Three hops of 2 x 2 numbers; 4 steps of 2 x 2 pairs.
  const hop = 1e-6 + 16 / 1e9;
  expect(forward).toMatchObject({ elementsSent: 12, computing: 6.4e-5, exposed: 0 });
  expect(forward?.exchange).toBeCloseTo(3 * hop, 15);
  const fast = simulateContextParallel({ ...one, flopsPerSecond: 1e12 }).find(({ mechanism }) => mechanism === 'ring');
  expect(fast?.forward.exposed).toBeCloseTo(3 * (hop - 1.6e-11), 15);
});

test('what cannot run comes last and says why', () => {
  expect(costs(96).ulysses.refused).toBe('96 devices do not divide 64 heads');
  expect(simulateContextParallel({ ...GQA, devices: 96, tokens: 960 }).at(-1)?.mechanism).toBe('ulysses');
  expect(costs(6, { heads: 12, keyHeads: 4 }).ulysses.refused).toContain('do not divide each other');
});

test('runs of tokens give the last device almost twice the mean, and documents are padded for a ring', () => {
  for (const devices of [2, 4, 8])
    expect(contiguousImbalance({ ...GQA, devices, tokens: 1 << 20 })).toBeCloseTo(2 - 1 / devices, 4);
  expect(contiguousImbalance({ ...GQA, devices: 8, tokens: 800, causal: false })).toBe(1);
  const { ring, ulysses } = costs(4, { tokens: 100, documents: [3, 97] });
  expect([ring.padding, ulysses.padding]).toEqual([0.12, 0]);
});

test('edges send what queries see beyond their device, others what they always do', () => {
  const within = costs(8, { keyHeads: 64, window: 4096 });
  const perKey = 2 * 64 * 128;
  expect(within.edges.forward).toMatchObject({ elementsSent: 4096 * perKey, computing: within.ring.forward.computing });
  expect(within.edges.backward.elementsSent).toBe(2 * 4096 * perKey);
  // A ring computes in two of its eight steps, so that nothing hides five of seven hops.
  expect(within.ring.forward.exposed).toBeCloseTo((5 / 7) * within.ring.forward.exchange, 12);
  expect(within.edges.seconds).toBeLessThan(within.ring.seconds);
  // Beyond a device's run, and all that others have.
  expect(costs(8, { window: 12_000 }).edges.forward.elementsSent).toBe(12_000 * 2 * 8 * 128);
  expect(costs(8, { window: 1e6 }).edges.forward.elementsSent).toBe(costs(8).ring.forward.elementsSent);
  expect(costs(8).edges.seconds).toBeCloseTo(costs(8)['all-gather'].seconds, 12);
  const near = costs(8, { pairs: 1e6, edges: { keys: 10, devices: 1, both: 15 } }).edges;
  expect([near.forward.elementsSent, near.backward.elementsSent]).toEqual([20_480, 30_720]);
  expect(near.forward.exchange).toBe(5e-6 + 40_960 / 450e9);
  // Neither of two devices sends and is sent.
  expect(costs(2, { window: 10 }).edges.backward.elementsSent).toBe(20_480);
  expect(contiguousImbalance({ ...GQA, devices: 2, tokens: 8, window: 1 })).toBe(16 / 15);
});

test('bad settings are refused by name', () => {
  const refused = (change: object) => () => simulateContextParallel({ ...GQA, devices: 4, tokens: 64, ...change });
  expect(refused({ devices: 0 })).toThrow(new ParameterError('devices must be an integer >= 1, got 0'));
  expect(refused({ keyHeads: 7 })).toThrow('keyHeads must divide heads 64, got 7');
  expect(refused({ documents: [60] })).toThrow('documents must sum to the 64 tokens, got 60');
  expect(refused({ within: { seconds: 0, bytesPerSecond: 1 } })).toThrow(
    'within.seconds must be a number above 0, got 0',
  );
  expect(refused({ window: -1 })).toThrow('window must be an integer >= 0, got -1');
  expect(refused({ edges: { keys: 1.5, devices: 1, both: 2 } })).toThrow('edges.keys must be an integer >= 0, got 1.5');
  expect(refused({ edges: 3 })).toThrow('edges must be');
  expect(refused({ ranks: 4 })).toThrow("simulateContextParallel has no option 'ranks'");
});
