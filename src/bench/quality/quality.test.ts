import { expect, test, vi } from 'vitest';
import { createRuntime, type Runtime } from '../../index';
import {
  exactAttention,
  gatedDeltaRule,
  kernelAttention,
  neighborhoodAttention,
  stochasticAttention,
} from '../../methods';
import { stateTracking } from '../../train';
import { courses, lastTask, stageAt } from './courses';
import { type QualityRun, qualityFailures, qualityRows, qualitySeries } from './report';
import { type QualityContext, type QualityOptions, runQuality, type Store } from './run';

const options: QualityOptions = {
  ...{ methods: [exactAttention, gatedDeltaRule], tasks: ['state-tracking-s3'], seeds: 2 },
  ...{ steps: 4, width: 8, layers: 1, heads: 2 },
};
const one = { ...options, methods: [exactAttention], seeds: 1 };

async function onRuntime<T>(work: (runtime: Runtime) => Promise<T>): Promise<T> {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const { live } = runtime.memory();
  const result = await work(runtime);
  await runtime.finish();
  expect(runtime.memory().live).toBe(live);
  return result;
}

/** Files in memory. */
function storeOf(): Store & { readonly files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    read: async (name) => files.get(name),
    async write(name, data) {
      files.set(name, typeof data === 'string' ? new TextEncoder().encode(data) : data);
    },
  };
}

/** But for times, which differ. */
const figures = (runs: readonly QualityRun[]) => runs.map(({ milliseconds, ...rest }) => rest);

test('every method is trained on every task, from every seed', () =>
  onRuntime(async (runtime) => {
    const told: string[] = [];
    const runs = await runQuality(options, { runtime, onProgress: (_, what) => told.push(what) });
    expect(runs.map(({ method, seed }) => `${method} ${seed}`)).toEqual([
      ...['attention 1', 'attention 2', 'gated-delta-rule 1', 'gated-delta-rule 2'],
    ]);
    for (const { accuracy, losses, reason } of runs) {
      expect(reason).toBeUndefined();
      expect(losses.map(({ steps }) => steps)).toEqual([1, 2, 3, 4]);
      // Of 512 sequences, whose first answers are easy.
      expect(Math.abs(accuracy! - 1 / 6)).toBeLessThan(0.05);
    }
    const [first, second] = runs as [QualityRun, QualityRun];
    expect(first.losses).not.toEqual(second.losses);
    // Two matrices of 8 x 8 for each of queries, keys, values and results, three of 16, the embedding, biases and norms.
    expect(first.parameters).toBe(6 * 8 + 4 * 64 + 3 * 128 + 3 * 8 + 2 * 4 + 3 * 8 + 8);
    expect(told.at(-1)).toMatch(/^state-tracking-s3 by gated-delta-rule, seed 2: step 4 of 4, loss \d/);
  }));

test('a benchmark that was ended goes on to the same figures, and trains nothing twice', () =>
  onRuntime(async (runtime) => {
    // Its orders are drawn anew in each step.
    const own = {
      ...one,
      seeds: 2,
      methods: [stochasticAttention],
      params: { [stochasticAttention.name]: { window: 8 } },
    };
    const drawn = vi.spyOn(stochasticAttention, 'drawn');
    const whole = await runQuality(own, { runtime });
    expect(new Set(drawn.mock.calls.map(([, { pass }]) => pass))).toEqual(new Set([undefined, 0, 1, 2, 3]));
    drawn.mockRestore();
    const store = storeOf();
    for (const ends of [2, 3]) {
      const controller = new AbortController();
      let steps = 0;
      const onProgress = () => {
        if (++steps === ends) controller.abort();
      };
      const run = runQuality(own, { runtime, store, signal: controller.signal, onProgress });
      await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    }
    const taken: number[] = [];
    const onProgress: QualityContext['onProgress'] = (share) => taken.push(share);
    const again = await runQuality(own, { runtime, store, onProgress });
    expect(figures(again)).toEqual(figures(whole));
    expect(taken.length).toBe(8 - 5);
    expect(await runQuality(own, { runtime, store })).toEqual(again);
  }));

test('a training that fails is told, and the others go on', () =>
  onRuntime(async (runtime) => {
    const [run] = (await runQuality(one, { runtime })) as [QualityRun];
    const { accuracy: _, ...failed } = { ...run, seed: 2, reason: 'the loss of step 3 is of no use' };
    const tasks = [{ name: run.task, summary: '', length: 64, steps: 4, chance: 1 / 6 }];
    const other = { ...run, seed: 3, accuracy: 0.5 };
    const [row] = qualityRows({ tasks, runs: [{ ...run, accuracy: 0.25 }, failed, other] });
    expect(row!.slice(0, 7)).toEqual(['state-tracking-s3', 'attention', '37.5%', '25.0%', '50.0%', '16.7%', '2']);
    expect(qualityRows({ tasks, runs: [failed] })[0]!.slice(2, 5)).toEqual(['failed', '', '']);
    expect(qualityFailures({ runs: [run, failed] })).toEqual([
      'state-tracking-s3 by attention, seed 2: the loss of step 3 is of no use',
    ]);
    const [accuracy, losses] = qualitySeries({ tasks, runs: [{ ...run, accuracy: 0.25 }, failed, other] });
    expect(accuracy!.lines).toEqual([
      { label: 'attention', values: [0.375] },
      { label: 'chance', values: [1 / 6] },
    ]);
    expect(losses!.x.values).toEqual([1, 2, 3, 4]);
    expect(losses!.lines).toHaveLength(1);
  }));

test('what cannot be trained or goes on from another benchmark is refused by name', () =>
  onRuntime(async (runtime) => {
    const refuse = (more: Partial<QualityOptions>, message: string, store?: Store) =>
      expect(runQuality({ ...one, ...more }, { runtime, store })).rejects.toThrow(message);
    await refuse({ methods: [kernelAttention] }, 'kernel-attention lets tokens see later ones');
    await refuse({ methods: [neighborhoodAttention] }, 'neighborhood-attention takes tokens on a grid');
    await refuse({ methods: ['attention' as never] }, 'methods[0] must be a method: one of saccade/methods');
    await refuse(
      { methods: [exactAttention, exactAttention] },
      'methods must have different names, got attention twice',
    );
    await refuse({ tasks: ['nonsense'] }, 'task must be one of associative-recall,');
    await refuse({ methods: [stochasticAttention] }, 'param window of stochastic-attention: expected integer >= 1');
    await refuse({ params: { performer: {} } }, "params has 'performer', which is not trained: expected attention");
    await refuse({ width: 6 }, 'width must be a multiple of twice the heads, 4, got 6');
    const store = storeOf();
    await runQuality(one, { runtime, store });
    await refuse({ steps: 5 }, 'state-tracking-s3-attention-1.json is of a training with steps 4, expected 5', store);
    // Nor is another trained first.
    const before = new Map(store.files);
    const both = { methods: [gatedDeltaRule, exactAttention], seeds: 2, steps: 5 };
    await refuse(both, 'state-tracking-s3-attention-1.json is of a training with steps 4, expected 5', store);
    expect(store.files).toEqual(before);
    for (const other of ['{', 'null', '{"settings": null}', '{"settings": {}, "milliseconds": 1, "run": 5}']) {
      await store.write('state-tracking-s3-attention-1.json', other);
      await refuse({}, 'state-tracking-s3-attention-1.json is no file of bench quality', store);
    }
  }));

test.each(courses)('$name: its stages make up the whole and share a vocabulary', (course) => {
  const { stages } = course;
  expect(stages.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
  expect(new Set(stages.map(({ task }) => task.vocabulary)).size).toBe(1);
  expect(stageAt(course, 0, 10)).toBe(stages[0]);
  expect(stageAt(course, 9, 10).task).toBe(lastTask(course));
});

test('the last task of a course is what its name says', () => {
  const named = courses.map((course) => [course.name, lastTask(course).name]);
  expect(named.every(([course, task]) => course === task)).toBe(true);
  expect(stateTracking({ items: 5 }).chance).toBe(1 / 120);
});
