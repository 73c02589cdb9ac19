/** Generated support of kernel machines beside stored rows, replay, and the contrastive term, on synthetic classes. */

import type { Kernel } from '../../kernels';
import { type GenerativeOptions, generativeLearner, type Learner, storedLearner } from '../../pipelines/continual';
import { accuracy, averageAccuracy, forgetting } from '../../pipelines/metrics';
import { formatPercent } from '../../text/format';
import { chart, defineExperiment, figure, type MeasureContext, together } from '../experiment';
import { mean } from '../vectors';
import { syntheticTasks, WIDTH } from './classes';

const points = (what: string, ...ranges: readonly (readonly [number, number])[]) =>
  figure(what, ...(ranges as [readonly [number, number], readonly [number, number]]), [-1, 1]);

export const experiment = defineExperiment({
  title: 'accuracy and forgetting after five tasks, of generated and of stored support, with replay and without',
  claims: {
    memory: {
      claim: 'With a linear kernel it is as accurate as kernel continual learning with a tenth of its memory.',
      source: 'abstract, on split CIFAR-100',
      criteria: { ahead: points('accuracy less that of stored rows of ten times the bytes', [-0.02, 1], [-0.1, 1]) },
    },
    equal: {
      claim: 'With equal memory it is 10.1 points more accurate.',
      source: 'abstract, on split CIFAR-100',
      criteria: { ahead: points('accuracy less that of stored rows of as many bytes', [0.07, 1], [0.01, 1]) },
    },
    support: {
      claim: 'A hundred generated samples of a class support a machine as well as twenty stored ones.',
      source: 'reconstructed: a test on synthetic classes',
      criteria: { ahead: points('accuracy less that of twenty stored rows, of one encoder', [-0.03, 1], [-0.08, 1]) },
    },
    replay: {
      claim: 'Only the generator is replayed, and without that it forgets.',
      source: 'abstract; how much is reconstructed',
      criteria: {
        forgets: figure('forgetting without replay over that with it', [2, 1000], [1, 1000], [-1000, 1000]),
        falls: points('accuracy without replay less that with it', [-1, -0.03], [-1, 0]),
      },
    },
    contrast: {
      claim: 'The contrastive term makes small supports more discriminative.',
      source: 'abstract; how much is reconstructed',
      criteria: { ahead: points('accuracy with it less that without, two samples of a class', [0.01, 1], [0, 1]) },
    },
  },
  measure: together(['memory', 'equal', 'support', 'replay', 'contrast'], compared),
});

const TASKS = 5;
const LATENT = 8;
/** Rows whose bytes are as many as those of a class's prior, 8 of a latent, and ten times as many. */
const [EQUAL, TENFOLD] = [(8 * LATENT) / WIDTH, (80 * LATENT) / WIDTH];
const [BETA, CONTRAST] = [0.5, 1];
const KERNEL: Kernel = { kernel: 'linear' };

interface Found {
  readonly accuracy: number;
  readonly forgetting: number;
}

async function compared(context: MeasureContext) {
  const { quick } = context;
  const seeds = Array.from({ length: quick ? 1 : 3 }, (_, seed) => seed);
  const runs: Record<Arm, Found>[] = [];
  for (const seed of seeds) runs.push(await runOf(context, seed, seed / seeds.length, 1 / seeds.length));
  const of = (arm: Arm, what: keyof Found = 'accuracy') => runs.map((run) => run[arm][what]);
  const average = (arm: Arm, what?: keyof Found) => mean(of(arm, what));
  const told = (arm: Arm) =>
    of(arm)
      .map((each) => formatPercent(each))
      .join(', ');
  const setting = `${TASKS} tasks of four classes of rows of ${WIDTH} numbers, tanh networks of latents; ${seeds.length} seeds; autoencoder of two layers of 64, latents of ${LATENT}.`;
  const less = (a: Arm, b: Arm) => average(a) - average(b);
  return {
    memory: {
      measured: `${told('generated 100')}; ${TENFOLD} stored rows of each class ${told('stored tenfold')}`,
      values: { ahead: less('generated 100', 'stored tenfold') },
      details: `${setting} Memory is that of a class beside the network: ${8 * LATENT} bytes here, a byte a number of a stored row. Stored rows have the authors' variational random features.`,
    },
    equal: {
      measured: `${told('generated 100')}; ${EQUAL} stored row of each class ${told('stored equal')}`,
      values: { ahead: less('generated 100', 'stored equal') },
      details: setting,
    },
    support: {
      measured: `generated 2, 20, 100: ${formatPercent(average('generated 2'))}, ${formatPercent(average('generated 20'))}, ${formatPercent(average('generated 100'))}; stored 20 ${formatPercent(average('rows 20'))}`,
      values: { ahead: less('generated 100', 'rows 20') },
      details: `${setting} Both through the encoder of the generator.`,
      series: chart(
        'Accuracy after five tasks',
        { 'samples of a class': [2, 20, 100] },
        { generated: [average('generated 2'), average('generated 20'), average('generated 100')] },
      ),
    },
    replay: {
      measured: `accuracy ${told('generated 100')} with, ${told('no replay')} without; forgetting ${formatPercent(average('generated 100', 'forgetting'))} and ${formatPercent(average('no replay', 'forgetting'))}`,
      values: {
        forgets: average('no replay', 'forgetting') / Math.max(1e-3, average('generated 100', 'forgetting')),
        falls: less('no replay', 'generated 100'),
      },
      details: setting,
    },
    contrast: {
      measured: `two samples of each class: ${told('generated 2')} with it, ${told('no contrast 2')} without`,
      values: { ahead: less('generated 2', 'no contrast 2') },
      details: setting,
    },
  };
}

const ARMS = [
  ...(['generated 100', 'generated 20', 'generated 2', 'rows 20'] as const),
  ...(['no replay', 'no contrast 2', 'stored equal', 'stored tenfold'] as const),
] as const;
type Arm = (typeof ARMS)[number];

/** All arms of a seed; those of one generator share its training. */
async function runOf(context: MeasureContext, seed: number, from: number, span: number): Promise<Record<Arm, Found>> {
  const { runtime, quick, signal } = context;
  const tasks = syntheticTasks(TASKS, quick ? 40 : 300, seed);
  const common = { runtime, tasks, seed, steps: quick ? 40 : 500, batch: 60, hidden: 64 };
  const generative = { ...common, latent: LATENT, learningRate: 3e-3, beta: BETA, kernel: KERNEL, ridge: 0.1 };
  const full = { ...generative, support: 100, contrast: CONTRAST, replay: true };
  const found: Partial<Record<Arm, Found>> = {};
  let at = 0;
  /** Trains a learner, and tells how it does by each of some ways to tell. */
  const take = async (learner: Learner, arms: Partial<Record<Arm, Learner['tell']>>) => {
    try {
      await context.step(from + (span * at++) / 5, `seed ${seed}: ${Object.keys(arms)[0]}`);
      const matrices = new Map<string, number[][]>(Object.keys(arms).map((arm) => [arm, []]));
      for (let task = 0; task < tasks.length; task++) {
        await learner.learn(task, { signal });
        for (const [arm, tell] of Object.entries(arms)) {
          const row: number[] = [];
          for (const [each, { unseen }] of tasks.slice(0, task + 1).entries())
            row.push(accuracy(await tell(each, unseen), unseen.labels));
          matrices.get(arm)?.push(row);
        }
      }
      for (const [arm, matrix] of matrices)
        found[arm as Arm] = { accuracy: averageAccuracy(matrix), forgetting: forgetting(matrix) };
    } finally {
      learner.dispose();
    }
  };
  const whole = generativeLearner(full);
  const by = (options: Partial<GenerativeOptions>) => generativeLearner({ ...full, ...options }, whole.parameters).tell;
  await take(whole, {
    'generated 100': whole.tell,
    'generated 20': by({ support: 20 }),
    'generated 2': by({ support: 2 }),
    'rows 20': generativeLearner({ ...full, rows: 20 }, whole.parameters).tell,
  });
  const alone = generativeLearner({ ...full, replay: false });
  await take(alone, { 'no replay': alone.tell });
  const plain = generativeLearner({ ...full, contrast: 0, support: 2 });
  await take(plain, { 'no contrast 2': plain.tell });
  const storing = { ...common, learningRate: 1e-3, features: 256, tau: 0.01 };
  for (const [arm, stored] of [
    ['stored equal', EQUAL],
    ['stored tenfold', TENFOLD],
  ] as const) {
    const learner = storedLearner({ ...storing, stored });
    await take(learner, { [arm]: learner.tell });
  }
  return found as Record<Arm, Found>;
}
