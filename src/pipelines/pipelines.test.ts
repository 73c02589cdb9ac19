import { describe, expect, test } from 'vitest';
import { expectClose } from '../../test/expect';
import fixture from '../../test/fixtures/pipelines.json';
import { scoped } from '../../test/scoped';
import { createRuntime, type Runtime, type Tensor } from '../index';
import { differentiate } from '../tape';
import { sizeOf } from '../tensor/shape';
import { autoencoderLoss, autoencoderParameters } from './autoencoder';
import {
  armTitle,
  type ContinualSettings,
  continual,
  type EqualMemory,
  type LearnerSummary,
  loadGenerator,
  type Progress,
  type Saved,
  type Store,
  tasksOf,
} from './continual';
import { contrastiveLoss, positives } from './contrastive';
import { accuracy, auroc, averageAccuracy, averagePrecision, confusionMatrix, forgetting } from './metrics';

/** The tensors of the fixture's script. */
function wave(shape: readonly number[], name: string): Float32Array {
  const seed = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 101;
  return Float32Array.from(
    { length: sizeOf(shape) },
    (_, i) => 0.5 * Math.sin(1.7 * i + 0.9 * seed) + 0.1 * Math.cos(0.3 * i),
  );
}

describe('metrics', () => {
  test("are scikit-learn's and NumPy's", () => {
    const { scores, labels, value, precision } = fixture.auroc;
    expect(auroc(scores, labels)).toBeCloseTo(value, 12);
    expect(averagePrecision(scores, labels)).toBeCloseTo(precision, 12);
    const { told, actual, counts, accuracy: share } = fixture.confusion;
    expect(confusionMatrix(told, actual, counts.length)).toEqual(counts);
    expect(accuracy(told, actual)).toBeCloseTo(share, 12);
    const { accuracies, average, value: forgot } = fixture.forgetting;
    expect(averageAccuracy(accuracies)).toBeCloseTo(average, 12);
    expect(forgetting(accuracies)).toBeCloseTo(forgot, 12);
  });

  test('of hand examples', () => {
    expect(auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBe(0.75);
    expect(auroc([5, 5, 5], [1, 0, 1])).toBe(0.5);
    expect(averagePrecision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBeCloseTo(5 / 6, 12);
    expect(averagePrecision([3, 3, 3, 3], [0, 1, 0, 0])).toBe(0.25);
    const matrix = [[1], [0.8, 0.9], [0.9, 0.7, 0.6]];
    expect(averageAccuracy(matrix)).toBeCloseTo(2.2 / 3, 12);
    expect(forgetting(matrix)).toBeCloseTo((0.1 + 0.2) / 2, 12);
    expect(forgetting([[1]])).toBe(0);
  });

  test('refuse what has no figure', () => {
    expect(() => auroc([1, 2], [1])).toThrow('scores and labels must be equally many, and some, got 2 and 1');
    expect(() => averagePrecision([1, 2], [0, 0])).toThrow('labels must have a positive, got none of 2');
    expect(() => auroc([1, 2], [1, 1])).toThrow('labels must have both kinds, got 2 positive of 2');
    expect(() => auroc([Number.NaN, 2], [1, 0])).toThrow('scores must be numbers, got NaN');
    expect(() => confusionMatrix([0, 3], [0, 1], 3)).toThrow('classes must be from 0 to 2, got 1 told as 3 at 1');
  });
});

test("losses and their gradients are PyTorch's", async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  await scoped(runtime, async () => {
    const config = { width: 6, hidden: 5, latent: 3, classes: 3 };
    const waves = (shapes: Readonly<Record<string, readonly number[]>>) =>
      Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [name, runtime.tensor(wave(shape, name), shape)]),
      );
    const described = Object.entries(autoencoderParameters(config)).map(([name, { shape }]) => [name, shape]);
    const labels = runtime.tensor(Int32Array.of(2, 0, 2, 1), [4], 'i32');
    const rows = {
      x: runtime.tensor(
        wave([4, 6], 'x').map((each) => 0.5 + each / 2),
        [4, 6],
      ),
      noise: runtime.tensor(wave([4, 3], 'noise'), [4, 3]),
      labels,
    };
    const check = async (
      loss: (p: Readonly<Record<string, Tensor>>) => Tensor,
      parameters: Record<string, Tensor>,
      wanted: { readonly loss: number; readonly gradients: Readonly<Record<string, readonly number[]>> },
    ) => {
      const found = differentiate(loss, parameters);
      expect((await found.loss.read())[0]).toBeCloseTo(wanted.loss, 4);
      for (const [name, gradient] of Object.entries(found.gradients))
        expectClose(await (gradient as Tensor).read(), wanted.gradients[name]!, 1e-5);
    };
    await check((p) => autoencoderLoss(p, rows, 0.7).loss, waves(Object.fromEntries(described)), fixture.autoencoder);
    const shares = positives(runtime, [2, 0, 2, 1]);
    const latents = { x: runtime.tensor(wave([4, 3], 'latents'), [4, 3]) };
    await check(({ x }) => contrastiveLoss(x!, shares, 0.2), latents, fixture.contrastive);
    // Rows of different labels have no positives, and equal rows are told apart by chance alone.
    const lossOf = async (x: Tensor, labels: readonly number[]) =>
      (await contrastiveLoss(x, positives(runtime, labels), 0.2).read())[0] as number;
    expect(await lossOf(latents.x, [0, 1, 2, 3])).toBe(0);
    expect(await lossOf(runtime.tensor(Array(8).fill(1), [4, 2]), [1, 1, 1, 1])).toBeCloseTo(Math.log(3), 5);
  });
});

/** Pictures of 3 x 4 whose class is which of their places is bright. */
function pictures(count: number, classes: number) {
  const labels = Int32Array.from({ length: count }, (_, at) => at % classes);
  const pixels = Uint8Array.from({ length: count * 12 }, (_, at) => {
    const [picture, place] = [Math.floor(at / 12), at % 12];
    return (place % classes === labels[picture] ? 200 : 20) + ((7 * picture + 3 * place) % 11);
  });
  return { shape: [count, 3, 4, 1] as const, pixels, labels };
}
const PARTS = { learned: pictures(48, 4), unseen: pictures(20, 4) };
const SETTINGS: ContinualSettings = {
  ...{ kind: 'split', tasks: 2, learners: ['generative', 'stored'], seeds: 1 },
  ...{
    steps: 150,
    batch: 12,
    hidden: 32,
    latent: 4,
    support: 10,
    stored: [4],
    kernel: { kernel: 'linear' },
    ridge: 0.1,
  },
};

describe('continual learning', () => {
  const withRuntime = async (run: (runtime: Runtime) => Promise<void>) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
    await run(runtime);
    expect(runtime.memory().live).toBe(0);
  };

  test('learns tasks in turn, and goes on where it was cut off as if it had not been', () =>
    withRuntime(async (runtime) => {
      const whole = await continual(runtime, PARTS, SETTINGS);
      expect(whole.tasks).toEqual(['0 or 1', '2 or 3']);
      for (const { learner, accuracies } of whole.found) {
        expect(
          accuracies.map((row) => row.length),
          learner,
        ).toEqual([1, 2]);
        expect(averageAccuracy(accuracies), learner).toBeGreaterThan(0.85);
      }
      expect(whole.samples?.length).toBe(4 * 8 * 12);
      const [generative, stored] = whole.learners as [LearnerSummary, LearnerSummary];
      expect([generative.memory.classes, generative.memory.tasks]).toEqual([128, [64, 128]]);
      expect(whole.equal?.generative).toBe(generative);
      const { stored: equal, isAsAccurate, ratio } = whole.equal as EqualMemory;
      expect([equal, ratio.classes]).toEqual([stored, (4 * 4 * 12) / (4 * 8 * 4)]);
      expect(isAsAccurate).toBe(stored.accuracy.value >= generative.accuracy.value);
      const others = await continual(runtime, PARTS, { ...SETTINGS, learners: ['fine-tuned', 'joint'] });
      for (const { learner, accuracies } of others.found) expect(accuracies[0]![0], learner).toBeGreaterThan(0.6);
      const all = [...whole.found, ...others.found];
      const bytes = Object.fromEntries(all.map(({ learner, bytes }) => [learner, bytes.ofClass]));
      expect(bytes).toEqual({ generative: 8 * 4, stored: 4 * 12, 'fine-tuned': 0, joint: (48 * 12) / 4 });

      const files = new Map<string, Saved & Progress>();
      let written = 0;
      const abort = new AbortController();
      const store: Store = {
        read: async (arm) => files.get(armTitle(arm)),
        async write(progress, parameters) {
          files.set(armTitle(progress), { ...progress, parameters });
          if (++written === 3) abort.abort(new Error('cut off'));
        },
      };
      await expect(continual(runtime, PARTS, SETTINGS, store, { signal: abort.signal })).rejects.toThrow('cut off');
      expect(files.size).toBe(2);
      expect((await continual(runtime, PARTS, SETTINGS, store)).found).toEqual(whole.found);
    }));

  test('the generator that comes along makes digits that are like others of their class', () =>
    withRuntime(async (runtime) => {
      using generator = await loadGenerator(runtime);
      const { classes, width } = generator;
      expect([classes, width]).toEqual([10, 784]);
      const labels = Array.from({ length: 200 }, (_, at) => at % classes);
      const meansOf = async (seed: number) => {
        const means = Array.from({ length: classes }, () => new Float64Array(width));
        (await generator.make(labels, seed)).forEach((value, at) => {
          const mean = means[labels[Math.floor(at / width)] as number]!;
          mean[at % width] = (mean[at % width] as number) + (value * classes) / labels.length;
        });
        return means;
      };
      const [means, others] = [await meansOf(1), await meansOf(2)];
      const apart = (a: Float64Array, b: Float64Array) =>
        a.reduce((sum, x, at) => sum + (x - (b[at] as number)) ** 2, 0);
      const nearest = means.map((mean) => {
        const distances = others.map((other) => apart(mean, other));
        return distances.indexOf(Math.min(...distances));
      });
      expect(nearest).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      await expect(generator.make([3, 10], 1)).rejects.toThrow(
        'labels must be integers from 0 to 9, got 10 at element 1',
      );
      await expect(loadGenerator(runtime, {})).rejects.toThrow("tensors of a generator must have 'prior.mean'");
    }));

  test('makes series of tasks with classes of their own', () => {
    for (const kind of ['permuted', 'rotated'] as const) {
      const tasks = tasksOf(PARTS, { kind, tasks: 10, seed: 1, most: 7 });
      expect(tasks.slice(0, 2).map(({ classes }) => classes)).toEqual([
        [0, 1, 2, 3],
        [4, 5, 6, 7],
      ]);
      for (const { learned, unseen } of tasks) expect([learned.labels.length, unseen.labels.length]).toEqual([7, 20]);
      const [first, last] = [tasks[0], tasks[9]].map((task) => [...task!.learned.x.slice(0, 12)]);
      expect(first).toEqual([...PARTS.learned.pixels.slice(0, 12)].map((x) => Math.fround(x / 255)));
      expect(last).not.toEqual(first);
      if (kind === 'permuted') expect(last!.sort()).toEqual(first!.sort());
    }
  });

  test('refuses pictures and settings that give no tasks', () => {
    const split =
      (tasks: number, parts = PARTS) =>
      () =>
        tasksOf(parts, { kind: 'split', tasks, seed: 0 });
    expect(split(3)).toThrow('tasks must divide the 4 classes into parts of two at least, got 3');
    expect(split(4)).toThrow('tasks must divide the 4 classes into parts of two at least, got 4');
    expect(split(1, { learned: pictures(4, 1), unseen: pictures(4, 1) })).toThrow(
      'pictures must be of two classes at least, got 1',
    );
    expect(split(2, { ...PARTS, unseen: pictures(3, 4) })).toThrow('class 3 has no pictures among those unseen');
    const strange = { ...PARTS.unseen, labels: PARTS.unseen.labels.map((label, at) => (at === 7 ? -1 : label)) };
    expect(split(2, { ...PARTS, unseen: strange })).toThrow('classes must be from 0 to 3, got -1');
  });
});
