/**
 * Kernel continual learning: a network that all tasks share, and for each task a kernel regression on some of its rows, which are kept.
 * Its kernel is of random features whose frequencies are drawn from a distribution that networks tell of the kept rows.
 * Source: Derakhshani et al. 2021, arXiv 2107.05757, and the authors' code; rows of features have length 1, as there for CIFAR.
 */
import { initial, type ModuleParameter } from '../../nn';
import { project } from '../../nn/projection';
import { crossEntropy } from '../../ops/cross-entropy';
import { solve } from '../../ops/linalg';
import { elu, relu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { matmul } from '../../ops/matmul';
import { mean } from '../../ops/reduce';
import { normal, uniform } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { unitRows } from '../contrastive';
import { divergence, drawn, type Gaussian } from '../gaussian';
import {
  bytesOf,
  chosenRows,
  firstRows,
  type Learner,
  type LearnerOptions,
  learnRows,
  oneHot,
  takeRows,
  tellBy,
} from './learner';

export interface StoredOptions extends LearnerOptions {
  /** Rows of each class that are kept. */
  readonly stored: number;
  /** Random features. */
  readonly features: number;
  /** Weight of the distance of the frequencies' distribution from that of the batch. */
  readonly tau: number;
}

type Parameters = Readonly<Record<string, Tensor>>;
interface Batch {
  readonly x: Tensor;
  /** Within the task. */
  readonly labels: Tensor;
  readonly kept: Tensor;
  readonly y: Tensor;
  readonly noise: Tensor;
  readonly phases: Tensor;
}

const NETS = ['posterior', 'prior'] as const;
/** What a ridge is at least. */
const LEAST_RIDGE = 0.01;

export function storedLearner(options: StoredOptions): Learner {
  const { runtime, tasks, seed, batch, hidden, stored, features, tau } = options;
  const width = tasks[0]?.learned.width as number;
  const parameters = initial({ parameters: described(width, hidden, tasks.length) }, runtime, seed);
  const kept = tasks.map(({ learned, classes }) => firstRows(learned, classes, stored));
  const phases = uniform(features, seed).map((x) => 2 * Math.PI * x);

  /** What the regression of a task needs beside x. */
  const headOf = (task: number, seed: number) => {
    const { classes } = tasks[task]!;
    const { x, labels } = kept[task]!;
    return {
      kept: runtime.tensor(x, [labels.length, width]),
      y: oneHot(runtime, labels, classes.length, classes[0]),
      noise: runtime.tensor(normal(features * hidden, seed), [features, hidden]),
      phases: runtime.tensor(phases, [features]),
    };
  };

  return {
    parameters,
    async learn(task, control) {
      const { learned, classes } = tasks[task]!;
      const chosen = chosenRows(learned.labels.length, batch, seed + task);
      const first = classes[0] as number;
      const batches = (index: number): Batch => {
        const { x, labels } = takeRows(learned, chosen(index));
        return {
          ...headOf(task, seed + 2 ** 20 * (task + 1) + index),
          x: runtime.tensor(x, [batch, width]),
          labels: runtime.tensor(
            labels.map((label) => label - first),
            [batch],
            'i32',
          ),
        };
      };
      const loss = (p: Parameters, batch: Batch) => {
        const { logits, apart } = logitsOf(p, task, batch);
        return map((loss, apart, { tau }) => loss + tau * apart, crossEntropy(logits, batch.labels), apart, {
          captured: { tau },
        });
      };
      await learnRows(options, parameters, { batches, loss }, control);
    },
    async tell(task, rows) {
      const head = headOf(task, seed);
      try {
        const first = tasks[task]?.classes[0] as number;
        return await tellBy(runtime, rows, first, (x) => logitsOf(parameters, task, { ...head, x }).logits);
      } finally {
        for (const tensor of Object.values(head)) tensor.dispose();
      }
    },
    bytes: () => ({ network: bytesOf(parameters), ofClass: stored * width }),
    dispose() {
      for (const tensor of Object.values(parameters)) tensor.dispose();
    },
  };
}

function described(width: number, hidden: number, tasks: number): Readonly<Record<string, ModuleParameter>> {
  const layers: Record<string, readonly [number, number]> = { '0': [hidden, width], '1': [hidden, hidden] };
  for (const net of NETS)
    for (const layer of ['0', '1', '2', 'mean', 'log_variance']) layers[`${net}.${layer}`] = [hidden, hidden];
  const parameters: Record<string, ModuleParameter> = {
    ridge: { shape: [tasks], initial: { value: 0.1 } },
    gain: { shape: [tasks], initial: { value: 1 } },
    offset: { shape: [tasks], initial: { value: 0 } },
  };
  for (const [name, [out, into]] of Object.entries(layers)) {
    parameters[`${name}.weight`] = {
      shape: [out, into],
      initial: { std: Math.sqrt((name.includes('.') ? 1 : 2) / into) },
    };
    parameters[`${name}.bias`] = { shape: [out], initial: { value: 0 } };
  }
  return parameters;
}

const layer = (p: Parameters, name: string, x: Tensor) => project(name, x, p, {});

const featuresOf = (p: Parameters, x: Tensor) => unitRows(relu(layer(p, '1', relu(layer(p, '0', x)))));

/** The distribution of frequencies, [1, hidden], from the mean of some rows' features. */
function frequencies(p: Parameters, net: (typeof NETS)[number], features: Tensor): Gaussian {
  let x: Tensor = mean(features, { axes: [0], keepDims: true });
  for (const at of ['0', '1', '2']) x = elu(layer(p, `${net}.${at}`, x));
  return { mean: layer(p, `${net}.mean`, x), logVariance: layer(p, `${net}.log_variance`, x) };
}

/** Logits [b, classes of the task], and how far the distribution of frequencies is from the batch's own. */
function logitsOf(p: Parameters, task: number, { x, kept, y, noise, phases }: Omit<Batch, 'labels'>) {
  const [own, others] = [featuresOf(p, kept), featuresOf(p, x)];
  const [q, prior] = [frequencies(p, 'posterior', own), frequencies(p, 'prior', others)];
  const apart = divergence(q, prior);
  const omega = drawn(q, noise);
  const waves = (rows: Tensor) =>
    map((x, phase, { size }) => size * Math.cos(x + phase), matmul(rows, omega, { transposeB: true }), phases, {
      captured: { size: Math.sqrt(2 / (noise.shape[0] as number)) },
    });
  const [support, query] = [waves(own), waves(others)];
  const number = (name: string) => (p[name] as Tensor).slice(0, task, task + 1).reshape([1, 1]);
  const matrix = map(
    (k, eye, ridge, { least }) => k + eye * (Math.abs(ridge) + least),
    matmul(support, support, { transposeB: true }),
    kept.runtime.eye(kept.shape[0] as number),
    number('ridge'),
    { captured: { least: LEAST_RIDGE } },
  );
  const weights = solve(matrix, y, { assume: 'positive-definite' });
  const sums = matmul(matmul(query, support, { transposeB: true }), weights);
  return {
    logits: map((s, gain, offset) => gain * s + offset, sums, number('gain'), number('offset')) as Tensor<'f32'>,
    apart,
  };
}
