/** Points of classes that no line tells apart, and a small network that is trained to. */
import { fitKernelRidge } from '../../kernels';
import { defineModule, initial, linear, type Module } from '../../nn';
import { crossEntropy } from '../../ops/cross-entropy';
import { relu } from '../../ops/map';
import type { Runtime } from '../../runtime/runtime';
import { differentiate } from '../../tape';
import { normal, uniformGenerator } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { adamw } from '../../train';
import type { MeasureContext } from '../experiment';
import { disposeAll } from '../held';

const [CLASSES, MODES, LATENT, WIDTH, HIDDEN] = [20, 3, 16, 64, 512];
const BATCH = 256;

export interface Classes {
  /** Training points [n, 64], their classes as rows of 20, and each as a number. */
  readonly x: Tensor<'f32'>;
  readonly targets: Tensor<'f32'>;
  readonly own: Int32Array;
  readonly points: Float32Array;
  /** As many test points, and their classes. */
  readonly test: Tensor<'f32'>;
  readonly labels: Int32Array;
}

/** tanh of random mixes of 16 numbers that lie round one of three centres of a class; `count` points of each, twice. */
export function classesOf(runtime: Runtime, count: number): Classes {
  const centres = normal(CLASSES * MODES * LATENT, 1);
  const mix = normal(LATENT * WIDTH, 2).map((value) => (2 * value) / Math.sqrt(LATENT));
  const n = CLASSES * count;
  const draw = (seed: number) => {
    const noise = normal(n * LATENT, seed);
    const labels = Int32Array.from({ length: n }, (_, i) => i % CLASSES);
    const points = new Float32Array(n * WIDTH);
    for (let i = 0; i < n; i++) {
      const mode = MODES * labels[i]! + (Math.floor(i / CLASSES) % MODES);
      for (let c = 0; c < WIDTH; c++) {
        let sum = 0;
        for (let k = 0; k < LATENT; k++)
          sum += (centres[mode * LATENT + k]! + 0.7 * noise[i * LATENT + k]!) * mix[k * WIDTH + c]!;
        points[i * WIDTH + c] = Math.tanh(sum);
      }
    }
    return { points, labels };
  };
  const [own, test] = [draw(3), draw(4)];
  const targets = new Float32Array(n * CLASSES);
  for (const [i, label] of own.labels.entries()) targets[i * CLASSES + label] = 1;
  return {
    x: runtime.tensor(own.points, [n, WIDTH]),
    targets: runtime.tensor(targets, [n, CLASSES]),
    own: own.labels,
    points: own.points,
    test: runtime.tensor(test.points, [n, WIDTH]),
    labels: test.labels,
  };
}

/** Layers 64, 512, 512 and 20 with relu between them. */
function network(): Module {
  const sizes = [WIDTH, HIDDEN, HIDDEN, CLASSES];
  const layer = (at: number) => ({
    [`${at}.weight`]: {
      shape: [sizes[at + 1] as number, sizes[at] as number],
      initial: { std: Math.sqrt(2 / (sizes[at] as number)) },
    },
    [`${at}.bias`]: { shape: [sizes[at + 1] as number], initial: { value: 0 } },
  });
  return defineModule({
    name: 'network',
    parameters: { ...layer(0), ...layer(1), ...layer(2) },
    forward(x, given: Readonly<Record<string, Tensor>>) {
      const apply = (x: Tensor, at: number) =>
        linear(x, given[`${at}.weight`] as Tensor, { bias: given[`${at}.bias`] as Tensor });
      return apply(relu(apply(relu(apply(x, 0)), 1)), 2);
    },
  });
}

/** The network after so many steps of AdamW on random batches. */
export async function trained({ runtime, step }: MeasureContext, { points, own }: Classes, steps: number) {
  const module = network();
  const parameters = initial(module, runtime, 5);
  using optimizer = adamw(parameters, { learningRate: 1e-3, weightDecay: 0.01 });
  const uniform = uniformGenerator(6);
  for (let at = 0; at < steps; at++) {
    if (at % 10 === 0) await step((0.7 * at) / steps, `training step ${at} of ${steps}`);
    const rows = Array.from({ length: BATCH }, () => Math.floor(uniform() * own.length));
    const batch = new Float32Array(BATCH * WIDTH);
    for (const [i, row] of rows.entries()) batch.set(points.subarray(row * WIDTH, (row + 1) * WIDTH), i * WIDTH);
    const x = runtime.tensor(batch, [BATCH, WIDTH]);
    const labels = runtime.tensor(
      Int32Array.from(rows, (row) => own[row]!),
      [BATCH],
    );
    const { loss, gradients } = differentiate((given) => crossEntropy(module.forward(x, given), labels), parameters);
    optimizer.step(gradients, { rate: 1 - at / steps });
    disposeAll([x, labels, loss, gradients]);
  }
  return { module, parameters };
}

/** The share of test points right by scores that `predict` gives. */
export async function accuracyOf({ test, labels }: Classes, predict: (x: Tensor) => Tensor): Promise<number> {
  using scores = predict(test);
  const values = await scores.read();
  let right = 0;
  for (const [i, label] of labels.entries()) {
    const row = values.subarray(i * CLASSES, (i + 1) * CLASSES) as Float32Array;
    if (row.indexOf(Math.max(...row)) === label) right++;
  }
  return right / labels.length;
}

/** That of a linear model of the points. */
export async function linearAccuracy(data: Classes): Promise<number> {
  const model = await fitKernelRidge({ kernel: 'linear' }, data.x, data.targets, { ridge: 1e-3, solver: 'primal' });
  const accuracy = await accuracyOf(data, model.predict);
  model.dispose();
  return accuracy;
}
