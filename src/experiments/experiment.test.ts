import { describe, expect, test, vi } from 'vitest';
import { createRuntime, gather } from '..';
import { loadExperiment, measured } from '.';
import {
  type Claim,
  type Criterion,
  defineExperiment,
  type ExperimentContext,
  type Finding,
  isOf,
  judge,
  type Range,
  together,
} from './experiment';

const criterion: Criterion = { what: 'a figure', expected: [1, 2], partly: [0.5, 2], plausible: [0, 3] };
const claim: Claim = { claim: 'So it is.', source: 'paper', criteria: { figure: criterion } };
const verdictOf = (one: Claim, values: Parameters<typeof judge>[1]) => judge(one, values).verdict;
const interval = (low: number, high: number) => ({ value: (low + high) / 2, low, high });

test.each([
  [1, 'reproduced'],
  [0.5, 'partly'],
  [0.4, 'not reproduced'],
  [2.5, 'not reproduced'],
  [3.1, 'refused'],
  [-0.1, 'refused'],
  [Number.NaN, 'refused'],
  [interval(1.2, 1.8), 'reproduced'],
  [interval(0.6, 0.9), 'partly'],
  [interval(0.1, 0.4), 'not reproduced'],
  [interval(0.9, 1.2), 'undecided'],
  [interval(0.4, 0.6), 'partly'],
  [interval(0.3, 0.6), 'not reproduced'],
  [interval(1.9, 2.1), 'undecided'],
  [{ value: 1.5, low: -Infinity, high: Infinity }, 'undecided'],
  [interval(2, 10), 'refused'],
])('%j is %s', (figure, verdict) => {
  expect(verdictOf(claim, { figure })).toBe(verdict);
});

test('of several figures the worst counts, and one that cannot be most of all', () => {
  const both = { ...claim, criteria: { one: criterion, other: criterion } };
  expect(verdictOf(both, { one: 1, other: 1 })).toBe('reproduced');
  expect(verdictOf(both, { one: 1, other: 0.5 })).toBe('partly');
  expect(verdictOf(both, { one: interval(0.9, 1.2), other: 0.5 })).toBe('undecided');
  expect(verdictOf(both, { one: interval(0.9, 1.2), other: 0.4 })).toBe('not reproduced');
  expect(verdictOf(both, { one: 4, other: 0.4 })).toBe('refused');
});

test('what is not tested, or only in part, is never reproduced; what follows from definitions holds by construction', () => {
  expect(verdictOf({ ...claim, criteria: {}, untested: 'No model was trained.' }, {})).toBe('not tested here');
  const half = { ...claim, untested: 'Only half of it.' };
  expect(verdictOf(half, { figure: 1 })).toBe('partly');
  expect(verdictOf(half, { figure: 0.4 })).toBe('not reproduced');
  const identity = { ...claim, byConstruction: true } as const;
  expect(verdictOf(identity, { figure: 1 })).toBe('holds by construction');
  expect(verdictOf(identity, { figure: 0.4 })).toBe('not reproduced');
});

test('a quick run judges no times', async () => {
  const experiment = defineExperiment({
    title: 'times and counts',
    claims: { counted: claim, timed: { ...claim, timed: true } },
    measure: {
      counted: () => ({ measured: '1', values: { figure: 1 } }),
      timed: async () => ({ measured: '1 ms', values: { figure: 1 } }),
    },
  });
  const verdicts = async (quick: boolean) =>
    (await experiment.run({ quick } as ExperimentContext)).map(({ verdict }) => verdict);
  expect(await verdicts(true)).toEqual(['reproduced', 'not tested here']);
  expect(await verdicts(false)).toEqual(['reproduced', 'reproduced']);
});

test('a measurement that fails costs its claims, and no others', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const measure = vi.fn(async () => {
    const [table, index] = [runtime.empty([2, 1]), runtime.tensor(new Int32Array([7]), [1])];
    // Two calls with a fault of their own, of which one is read.
    gather(table, index);
    await gather(table, index).read();
    return { one: { measured: '1', values: { figure: 1 } }, two: { measured: '2', values: { figure: 1 } } };
  });
  const experiment = defineExperiment({
    title: 'faults',
    claims: { one: claim, after: claim, two: claim, before: claim },
    measure: {
      before: () => ({ measured: '0', values: { figure: 1 } }),
      ...together(['one', 'two'], measure),
      after: async () => {
        await runtime.finish();
        return { measured: '3', values: { figure: 0.4 } };
      },
    },
  });
  const findings = await experiment.run({ runtime });
  expect(findings.map(({ verdict }) => verdict)).toEqual([
    'not measured',
    'not reproduced',
    'not measured',
    'reproduced',
  ]);
  expect(findings[0]?.measured).toMatch(/^not measured: indices must be from 0 to 1, got 7/);
  expect(measure).toHaveBeenCalledOnce();

  const signal = AbortSignal.abort();
  await expect(async () => experiment.run({ runtime, signal })).rejects.toThrow('abort');
  const told = defineExperiment({
    title: 'told',
    claims: { one: claim },
    measure: {
      one({ onProgress }) {
        onProgress?.(0.5, 'half');
        return { measured: '1', values: { figure: 1 } };
      },
    },
  });
  const onProgress = vi.fn((): void => {
    throw new RangeError('deaf');
  });
  await expect(async () => told.run({ runtime, onProgress })).rejects.toThrow('deaf');
  expect(onProgress).toHaveBeenCalledWith(0.5, 'half');
});

const experiments = await Promise.all(measured.map(async (paper) => [paper.id, await loadExperiment(paper)] as const));

/** Every claim of every paper. */
const claims = experiments.flatMap(([id, experiment]) =>
  Object.entries(experiment.claims).map((each) => [id, ...each] as const),
);

describe.each(claims)('%s: %s', (_, __, one) => {
  const middle = ([low, high]: Range) => (low + high) / 2;
  const values = Object.fromEntries(Object.entries(one.criteria).map(([key, { expected }]) => [key, middle(expected)]));
  const best = one.byConstruction ? 'holds by construction' : one.untested === undefined ? 'reproduced' : 'partly';

  test('what is expected gives the best verdict there is', () => {
    expect(verdictOf(one, values)).toBe(Object.keys(values).length === 0 ? 'not tested here' : best);
    if (Object.keys(values).length === 0) expect(one.untested).toEqual(expect.any(String));
  });

  test.each(Object.entries(one.criteria))('%s can turn it', (key, { expected, partly = expected, plausible }) => {
    const turned = (figure: Parameters<typeof judge>[1][string]) => verdictOf(one, { ...values, [key]: figure });
    const [low, high] = plausible;
    for (const range of [expected, partly]) {
      expect(range[0]).toBeGreaterThanOrEqual(low);
      expect(range[1]).toBeLessThanOrEqual(high);
    }
    // On one side at least there is room between what is believed and what holds.
    const fails = (partly[0] - low > high - partly[1] ? low + partly[0] : high + partly[1]) / 2;
    expect(turned(fails)).toBe('not reproduced');
    for (const beyond of [low - 1, high + 1, Number.NaN]) expect(turned(beyond)).toBe('refused');
    if (partly[0] < expected[0]) expect(turned((partly[0] + expected[0]) / 2)).toBe('partly');
    const [from, to] = [Math.min(fails, expected[0]), Math.max(fails, expected[1])];
    expect(turned({ value: middle(expected), low: from, high: to })).toBe('undecided');
  });
});

describe('claims that once could not fail', () => {
  const claimOf = (paper: string, name: string) =>
    claims.find(([id, key]) => id === paper && key === name)?.[2] as Claim;

  test.each([
    ['transnormer', 'dilution', {}, 'not tested here'],
    ['power-attention', 'sliding', {}, 'not tested here'],
    ['power-attention', 'firstLayer', { seen: 10 / 128 }, 'holds by construction'],
    ['power-attention', 'firstLayer', { seen: 9 / 128 }, 'not reproduced'],
    // 300 times below a bound says little of it.
    ['transnormer', 'bound', { share: 1 / 300 }, 'partly'],
    ['transnormer', 'bound', { share: 0.667 }, 'reproduced'],
    ['transnormer', 'bound', { share: 1.1 }, 'not reproduced'],
    ['stochastic-attention', 'causalReach', { alone: 1, pair: 1.5 }, 'reproduced'],
    ['stochastic-attention', 'causalReach', { alone: 0.5, pair: 1.5 }, 'not reproduced'],
    // A stride that is 10.2 times as fast where 7.2 is all that its tiles allow.
    ['generalized-neighborhood-attention', 'tilesTell', { correlation: 0.99, share: 10.2 / 7.2 }, 'refused'],
    ['generalized-neighborhood-attention', 'tilesTell', { correlation: 0.99, share: 0.95 }, 'reproduced'],
    // Linear is neither constant nor quadratic.
    ['gated-delta-networks', 'linear', { growth: interval(0.95, 1.02) }, 'reproduced'],
    ['gated-delta-networks', 'linear', { growth: interval(0.4, 0.6) }, 'not reproduced'],
    ['gated-delta-networks', 'linear', { growth: interval(1.8, 2) }, 'not reproduced'],
    ['gated-delta-networks', 'linear', { growth: interval(0.8, 1.2) }, 'undecided'],
  ] as const)('%s, %s: %j is %s', (paper, name, values, verdict) => {
    expect(verdictOf(claimOf(paper, name), values)).toBe(verdict);
  });
});

test.each(experiments)(
  'what onProgress throws ends the experiment of %s, which leaves nothing behind',
  async (_, experiment) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const onProgress = (share: number) => {
      if (share > 0.02) throw new RangeError('deaf');
    };
    await expect(async () => experiment.run({ runtime, quick: true, onProgress })).rejects.toThrow('deaf');
    expect(runtime.memory().live).toBe(0);
  },
);

test('an experiment tells how far it is, and leaves nothing behind', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const shares: number[] = [];
  const experiment = experiments.find(([id]) => id === 'stochastic-attention')![1];
  const findings = await experiment.run({ runtime, quick: true, onProgress: (share) => shares.push(share) });
  expect(findings.map(({ verdict }) => verdict).slice(0, 2)).toEqual(['reproduced', 'partly']);
  expect(shares.at(-1)).toBe(1);
  expect(runtime.memory().live).toBe(0);
});

test('goes on where it was cut off: what was found is not measured again, what failed is', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const figures = { one: vi.fn(() => 1), two: vi.fn(() => 1) };
  const measure = (name: 'one' | 'two') => () => ({ measured: name, values: { figure: figures[name]() } });
  const other = { ...claim, claim: 'And so it goes.' };
  const experiment = defineExperiment({
    title: 'in parts',
    claims: { one: claim, two: other },
    measure: { two: measure('two'), one: measure('one') },
  });
  const kept: (readonly Finding[])[] = [];
  figures.one.mockImplementationOnce(() => {
    throw new Error('no memory is left');
  });
  const first = await experiment.run({ runtime, onFindings: (findings) => void kept.push(findings) });
  expect(kept.map((findings) => findings.map(({ verdict }) => verdict))).toEqual([
    ['reproduced'],
    ['not measured', 'reproduced'],
  ]);
  const earlier = JSON.parse(JSON.stringify(first)) as Finding[];
  expect(await experiment.run({ runtime, earlier })).toMatchObject([{ verdict: 'reproduced' }, first[1]]);
  expect([figures.one, figures.two].map(({ mock }) => mock.calls.length)).toEqual([2, 1]);
  const stricter = { ...other, criteria: { figure: { ...criterion, expected: [1.5, 2] as const } } };
  expect([other, stricter, claim].map((each) => isOf(each, earlier[1] as Finding))).toEqual([true, false, false]);
});
