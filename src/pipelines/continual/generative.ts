/**
 * Generative kernel continual learning: a kernel regression for each task, on rows that one generator makes of its classes. Only the
 * generator learns, from the rows of the task and from those that its own copy of before makes of older classes.
 * Source: Derakhshani et al. 2021, arXiv 2112.13410: the idea; its details are reconstructed, as the sheet's text was not at hand.
 */
import { fitKernelRidge, type Kernel } from '../../kernels';
import { initial, type TrainableParameters } from '../../nn';
import { concat, contiguous } from '../../ops/copy';
import { map } from '../../ops/map/map';
import { normal, uniformGenerator } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { autoencoderLoss, autoencoderParameters, encode, generate, type LabelledRows } from '../autoencoder';
import { contrastiveLoss, positives, unitRows } from '../contrastive';
import {
  bytesOf,
  chosenRows,
  classesOf,
  firstRows,
  type Learner,
  type LearnerOptions,
  learnRows,
  oneHot,
  takeRows,
  tellBy,
} from './learner';

export interface GenerativeOptions extends LearnerOptions {
  /** Numbers of a latent. */
  readonly latent: number;
  /** Rows that are made of each class to tell a task's apart. */
  readonly support: number;
  /** So many stored rows of each class in their place, to compare with. Default: none. */
  readonly rows?: number | undefined;
  /** Weight of the distance of latents from their priors. */
  readonly beta: number;
  /** Weight of the contrastive loss; 0 for none. */
  readonly contrast: number;
  /** Whether older classes are made again while others are learned. */
  readonly replay: boolean;
  readonly kernel: Kernel;
  readonly ridge: number;
}

const TEMPERATURE = 0.2;
/** Rows that are made again of each older task, over those of the task that is learned. */
const REPLAYED = 0.5;

interface Batch extends LabelledRows {
  readonly shares: Tensor;
}

/** With the parameters of another one it tells by what that one learned, and leaves them to it. */
export function generativeLearner(options: GenerativeOptions, shared?: TrainableParameters): Learner {
  const { runtime, tasks, seed, batch, hidden, latent, support, beta, contrast, replay, kernel, ridge } = options;
  const width = tasks[0]?.learned.width as number;
  const config = { width, hidden, latent, classes: classesOf(tasks) };
  const parameters = shared ?? initial({ parameters: autoencoderParameters(config) }, runtime, seed);
  const noiseFor = (rows: number, seed: number) => runtime.tensor(normal(rows * latent, seed), [rows, latent]);
  const made = (from: TrainableParameters, labels: Int32Array, seed: number) =>
    generate(from, runtime.tensor(labels, [labels.length], 'i32'), noiseFor(labels.length, seed));

  /** Batches of a task's rows, and others that `old` makes of older classes. */
  function batchesOf(task: number, old: TrainableParameters | undefined) {
    const { learned, classes } = tasks[task]!;
    const chosen = chosenRows(learned.labels.length, batch, seed + task);
    const first = classes[0] as number;
    return (index: number): Batch => {
      const own = takeRows(learned, chosen(index));
      const random = uniformGenerator(seed + 31 * task + 104_729 * (index + 1));
      const older = old
        ? Int32Array.from({ length: Math.round(REPLAYED * batch * task) }, () => Math.floor(first * random()))
        : new Int32Array();
      const labels = Int32Array.from([...own.labels, ...older]);
      const at = seed + 2 ** 20 * (task + 1) + index;
      return runtime.scope(() => {
        const x = runtime.tensor(own.x, [batch, width]);
        return {
          x: old ? concat([x, made(old, older, at + 2 ** 31)], 0) : contiguous(x),
          labels: runtime.tensor(labels, [labels.length], 'i32'),
          noise: noiseFor(labels.length, at),
          shares: positives(runtime, labels),
        };
      });
    };
  }

  const featuresOf = (x: Tensor) => unitRows(encode(parameters, x).mean);

  return {
    parameters,
    async learn(task, control) {
      const old = replay && task > 0 ? runtime.scope(() => copies(parameters)) : undefined;
      try {
        await learnRows(options, parameters, { batches: batchesOf(task, old), loss }, control);
      } finally {
        for (const tensor of Object.values(old ?? {})) tensor.dispose();
      }
    },
    async tell(task, rows) {
      const { classes, learned } = tasks[task]!;
      const first = classes[0] as number;
      const kept = options.rows === undefined ? undefined : firstRows(learned, classes, options.rows);
      const labels =
        kept?.labels ?? Int32Array.from(classes.flatMap((label) => new Array<number>(support).fill(label)));
      using x = runtime.scope(() =>
        featuresOf(
          kept ? runtime.tensor(kept.x, [labels.length, width]) : made(parameters, labels, seed + 2 ** 40 + task),
        ),
      );
      using y = oneHot(runtime, labels, classes.length, first);
      const head = await fitKernelRidge(kernel, x, y, { ridge });
      try {
        return await tellBy(runtime, rows, first, (each) => head.predict(featuresOf(each)));
      } finally {
        head.dispose();
      }
    },
    bytes: () => {
      const ofClass = 8 * latent;
      return { network: bytesOf(parameters) - config.classes * ofClass, ofClass };
    },
    async samples(labels, seed) {
      using rows = runtime.scope(() => made(parameters, Int32Array.from(labels), seed));
      return (await rows.read()) as Float32Array;
    },
    dispose() {
      if (!shared) for (const tensor of Object.values(parameters)) tensor.dispose();
    },
  };

  function loss(p: Readonly<Record<string, Tensor>>, { shares, ...rows }: Batch): Tensor {
    const { loss, mean } = autoencoderLoss(p, rows, beta);
    if (contrast === 0) return loss;
    return map(
      (loss, apart, { contrast }) => loss + contrast * apart,
      loss,
      contrastiveLoss(mean, shares, TEMPERATURE),
      {
        captured: { contrast },
      },
    );
  }
}

const copies = (tensors: TrainableParameters): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, map((x) => x, tensor)]));
