import { describe, expect, test } from 'vitest';
import { scoped } from '../../../test/scoped';
import { createRuntime, type Runtime, type Tensor } from '../../index';
import { matmul } from '../../ops/matmul';
import { differentiate } from '../../tape';
import { type ArmName, detectorSettings } from './arms';
import { type CloudClass, madeClass, tasksOfClasses } from './data';
import { encodeCloud } from './encode';
import { perturbationLoss } from './perturbation';
import { chamfer, type PointMaeConfig } from './point-mae';
import { pretrain } from './pretrain';
import { type AnomalyProgress, type AnomalyStore, anomaly, loadDetector, type SavedDetector } from './run';
import { objectScore, pointScores } from './score';
import type { AnomalySettings } from './settings';

const wasm = () => createRuntime({ backend: 'wasm', threads: 1 });
const CONFIG: PointMaeConfig = {
  ...{ points: 40, groups: 8, size: 5, width: 8, heads: 2 },
  ...{ blocks: 2, decoderBlocks: 1, taken: 1, masked: 0.5 },
};
const MADE = { points: 60, learned: 2, unseen: 1, seed: 1 };
const CLASSES: CloudClass[] = (['ball', 'box', 'cone'] as const).map((name) => madeClass(name, name, MADE));
const SETTINGS: AnomalySettings = {
  arms: ['c3d-ad', 'fine-tuned', 'softmax'],
  ...{ tasks: 2, seeds: 1, steps: 2, batch: 2, views: 1, features: 4 },
};

async function encoderOn(runtime: Runtime) {
  const { tensors, history } = await pretrain(runtime, CONFIG, { steps: 3, batch: 2, seed: 1, learningRate: 1e-3 });
  return { encoder: { config: CONFIG, parameters: tensors }, losses: history.losses };
}

describe('the worst change of parameters', () => {
  test('of a matrix times a vector is along its first right singular vector', async () => {
    using runtime = await wasm();
    await scoped(runtime, async () => {
      // Singular values 3 and 1.
      const x = runtime.tensor([2, 1, 1, 2, 0, 0], [3, 2]);
      const theta = runtime.tensor([0.4, -0.2], [2]);
      const loss = (epsilon: number, steps = 12) =>
        perturbationLoss(
          ({ theta }) => matmul(x, (theta as Tensor).reshape([2, 1])),
          { theta },
          { epsilon, steps, seed: 3 },
        );
      expect((await loss(0.1).read())[0]).toBeCloseTo(0.01 * 9, 5);
      expect((await loss(0.2).read())[0]).toBeCloseTo(0.04 * 9, 5);
      expect((await loss(0).read())[0]).toBe(0);
      expect((await loss(0.1, 0).read())[0] as number).toBeLessThan(0.001 * 9);
      // The change is held: of what is linear nothing is left to learn.
      const { gradients } = differentiate(
        (p: { theta: Tensor }) =>
          perturbationLoss(({ theta }) => matmul(x, theta.reshape([2, 1])), p, { epsilon: 0.1, steps: 2, seed: 3 }),
        { theta },
      );
      for (const value of await (gradients.theta as Tensor).read()) expect(value).toBeCloseTo(0, 4);
      expect(() => loss(-1)).toThrow('epsilon must be a finite number >= 0, got -1');
    });
  });
});

test('the distance of sets of points is to the nearest of the others, and back', async () => {
  using runtime = await wasm();
  using a = runtime.tensor([0, 0, 0, 1, 0, 0], [1, 2, 3]);
  using b = runtime.tensor([0, 0, 2, 0, 0, 3], [1, 2, 3]);
  using found = runtime.scope(() => chamfer(a, b));
  // To b: 4 and 5; to a: 4 and 9.
  expect((await found.read())[0]).toBeCloseTo(4.5 + 6.5, 5);
});

test('scores of points are of the nearest centers, that of a cloud the mean of the largest', () => {
  const places = {
    centers: Float32Array.of(0, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0, 10),
    features: new Float32Array(),
    middle: [1, 0, 0] as const,
    size: 2,
  };
  const scores = pointScores(Float32Array.of(1, 0, 0, 21, 0, 0), places, Float32Array.of(1, 5, 0, 0));
  expect(scores[0]).toBeCloseTo(1, 3);
  expect(scores[1]).toBeCloseTo(5, 3);
  expect(objectScore(Float32Array.from({ length: 40 }, (_, at) => at))).toBe(38.5);
  expect(objectScore(Float32Array.of(3))).toBe(3);
});

test('an arm tells of the part that it is without', () => {
  const settings = (arm: ArmName) => Object.entries(detectorSettings(arm, SETTINGS, 8));
  const different = (a: ArmName, b: ArmName) => {
    const other = Object.fromEntries(settings(b));
    return settings(a).flatMap(([name, value]) => (value === other[name] ? [] : [name]));
  };
  expect(different('no-advisor', 'c3d-ad')).toEqual(['attention']);
  expect(different('no-perturbation', 'c3d-ad')).toEqual(['perturbation']);
  expect(different('softmax', 'no-advisor')).toEqual(['attention']);
  expect(different('fine-tuned', 'no-advisor')).toEqual(['perturbation', 'anchor']);
});

describe('classes in tasks', () => {
  const names = ['a', 'b', 'c'];
  test('are as even as they can be, or as they are named', () => {
    expect(tasksOfClasses(names, 2)).toEqual([['a', 'b'], ['c']]);
    expect(tasksOfClasses(names, [['c'], ['a']])).toEqual([['c'], ['a']]);
  });
  test.each<[number | string[][], string]>([
    [4, 'tasks must be at most the 3 classes, got 4'],
    [[['a'], ['b', 'a']], "tasks must have each class once, got 'a' twice"],
    [[['d']], "tasks must be of the classes a, b, c, got 'd'"],
    [[['a'], []], 'tasks must have classes, got none in task 2'],
    [[], 'tasks must have classes, got none in task 1'],
  ])('refuse %j', (order, message) => {
    expect(() => tasksOfClasses(names, order)).toThrow(message);
  });
});

describe('anomaly', () => {
  test('learns in tasks with each kind of attention, goes on where it was cut off, and what it saved scores clouds', async () => {
    using runtime = await wasm();
    const { encoder, losses } = await encoderOn(runtime);
    expect(losses.every(Number.isFinite)).toBe(true);
    const saved = new Map<string, SavedDetector>();
    const key = ({ arm, seed }: Pick<AnomalyProgress, 'arm' | 'seed'>) => `${arm} ${seed}`;
    const store: AnomalyStore = {
      read: async (progress) => saved.get(key(progress)),
      async write(progress, tensors) {
        saved.set(key(progress), { figures: progress.figures, tensors });
      },
    };
    const stop = new AbortController();
    const cut = anomaly(runtime, encoder, CLASSES, SETTINGS, store, {
      signal: stop.signal,
      onProgress(share) {
        if (share > 0.4) stop.abort(new Error('cut off'));
      },
    });
    await expect(cut).rejects.toThrow('cut off');
    expect(saved.get('c3d-ad 0')?.figures).toHaveLength(2);
    const { tasks, found } = await anomaly(runtime, encoder, CLASSES, SETTINGS, store);
    expect(tasks).toEqual([['ball', 'box'], ['cone']]);
    expect(found.map(({ arm }) => arm)).toEqual(SETTINGS.arms);
    for (const { figures } of found) {
      expect(figures.map((row) => row.map(({ name }) => name))).toEqual([
        ['ball', 'box'],
        ['ball', 'box', 'cone'],
      ]);
      for (const { object, point } of figures.flat())
        for (const figure of [object, point]) expect(figure).toSatisfy((x) => x >= 0 && x <= 1);
    }
    // As if it had not been cut off.
    expect(await anomaly(runtime, encoder, CLASSES, { ...SETTINGS, arms: ['fine-tuned'] })).toEqual({
      tasks,
      found: [found[1]],
    });
    const tensors = saved.get('c3d-ad 0')?.tensors ?? {};
    expect(Object.values(tensors).every(({ data }) => data.every((value) => Number.isFinite(Number(value))))).toBe(
      true,
    );
    using detector = loadDetector(runtime, encoder, { arm: 'c3d-ad', settings: SETTINGS, tensors });
    const cloud = CLASSES[0]?.unseen[0] as CloudClass['unseen'][number];
    const { object, points } = await detector.score(cloud);
    expect(object).toBeGreaterThan(0);
    expect(points).toHaveLength(60);
    expect((await detector.score(cloud)).object).toBe(object);
    expect(() => loadDetector(runtime, encoder, { arm: 'softmax', settings: SETTINGS, tensors: {} })).toThrow(
      "tensors that were saved must have 'input.weight', f32 [64, 8], got none",
    );
    for (const tensor of Object.values(encoder.parameters)) tensor.dispose();
  });

  test('refuses clouds that have no groups', async () => {
    using runtime = await wasm();
    const { encoder } = await encoderOn(runtime);
    const encoded = (points: Float32Array) => encodeCloud(runtime, encoder, { name: 'a', points }, 1);
    await expect(encoded(Float32Array.of(1, 2, 3))).rejects.toThrow(
      'a must have at least 8 points, for 8 groups of 5, got 1',
    );
    await expect(encoded(new Float32Array(60).fill(7))).rejects.toThrow('the points of a must not all be at one place');
    await expect(anomaly(runtime, encoder, [], SETTINGS)).rejects.toThrow('classes must be one at least, got none');
    const empty = [{ ...(CLASSES[0] as CloudClass), learned: [] }];
    await expect(anomaly(runtime, encoder, empty, SETTINGS)).rejects.toThrow('class ball has no clouds to learn from');
    // Before anything is learned.
    const small = { name: 'nut', learned: [{ name: 'one', points: Float32Array.of(1, 2, 3) }], unseen: [] };
    await expect(anomaly(runtime, encoder, [...CLASSES, small], SETTINGS)).rejects.toThrow(
      'cloud one of class nut must have at least 8 points',
    );
    const [first] = CLASSES[0]?.unseen ?? [];
    const wrong = [
      { name: 'a', learned: [{ ...first, labels: new Uint8Array(3) }], unseen: [] },
    ] as unknown as CloudClass[];
    await expect(anomaly(runtime, encoder, wrong, SETTINGS)).rejects.toThrow("must be a Uint8Array of 60, its points'");
  });
});
