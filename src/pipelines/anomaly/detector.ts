/** Learns what features clouds of a task have, after those of others, and tells where a cloud's differ. */
import { randomPermutation } from '../../masks';
import { initial, splitBuffers, type TrainableParameters, type TrainingPass } from '../../nn';
import { contiguous } from '../../ops/copy';
import { map } from '../../ops/map/map';
import { mean } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { adamw, train, warmupCosine } from '../../train';
import type { Places } from './encode';
import { perturbationLoss } from './perturbation';
import {
  type AdvisorUse,
  errorsOf,
  noisy,
  type ReconstructionConfig,
  reconstruct,
  reconstructionParameters,
} from './reconstruction';

export interface DetectorSettings extends ReconstructionConfig {
  /** Steps of a task, and clouds of a step. */
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
  /** Standard deviation of the noise on features, which are standardised. */
  readonly noise: number;
  /** Weight of the loss under the worst change of the parameters, and how long that change is; a weight of 0 for none. */
  readonly perturbation: number;
  readonly epsilon: number;
  /** Steps of the search for that change. */
  readonly search: number;
  /** The share of the network before a task that each of its steps mixes in. */
  readonly anchor: number;
  /** Whether clouds that are tested leave the advisor as it is, as in the authors' code, or correct a copy of it. */
  readonly frozen: boolean;
}

interface LearnControl {
  readonly signal?: AbortSignal | undefined;
  /** The share of the task that is done, and its loss. */
  readonly onStep?: ((share: number, loss: number) => void) | undefined;
}

export interface Detector {
  /** What it learned, and its advisors. */
  readonly tensors: TrainableParameters;
  learn(task: number, clouds: readonly Places[], control?: LearnControl): Promise<void>;
  /** How far each place's features are from what they should be. */
  errors(cloud: Pick<Places, 'centers' | 'features'>): Promise<Float32Array>;
  dispose(): void;
}

interface Batch {
  readonly features: Tensor;
  readonly centers: Tensor;
  readonly noise: Tensor;
  readonly number: number;
}

export function detector(runtime: Runtime, settings: DetectorSettings, seed: number): Detector {
  const { width, steps, batch, learningRate, noise, perturbation, epsilon, search, anchor, frozen } = settings;
  const module = { parameters: reconstructionParameters(settings) };
  const tensors = initial(module, runtime, seed);
  const { parameters, buffers } = splitBuffers(module, tensors);

  const told = (p: TrainableParameters, { features, centers, noise: drawn }: Omit<Batch, 'number'>, use: AdvisorUse) =>
    reconstruct(p, settings, { features: noisy(features, drawn, noise), centers }, use);

  function lossOf(p: TrainableParameters, given: Batch, training: TrainingPass | undefined): Tensor<'f32'> {
    const apart = map((a, b) => (a - b) * (a - b), told(p, given, { isFrozen: false, training }), given.features);
    if (perturbation === 0) return mean(apart);
    // The search takes many passes: one cloud of the batch has to do.
    const first = { features: part(given.features), centers: part(given.centers), noise: part(given.noise) };
    const own = Object.fromEntries(Object.keys(parameters).map((name) => [name, p[name] as Tensor]));
    const others = Object.fromEntries(Object.keys(buffers).map((name) => [name, p[name] as Tensor]));
    const worst = perturbationLoss(
      (changed) => errorsOf(told({ ...changed, ...others }, first, { isFrozen: false }), first.features),
      own,
      { epsilon, steps: search, seed: given.number },
    );
    // The mean over places, as of the other loss: their sum would outweigh it a hundredfold.
    const captured = { weight: perturbation / (first.features.shape[1] as number) };
    return map((a, b, { weight }) => a + weight * b, mean(apart), worst, { captured }) as Tensor<'f32'>;
  }

  return {
    tensors,
    async learn(task, clouds, { signal, onStep } = {}) {
      using optimizer = adamw(parameters, { learningRate, weightDecay: 0 });
      const before = anchor > 0 && task > 0 ? copies(parameters) : undefined;
      try {
        await train<Batch>({
          ...{ parameters, buffers, optimizer, steps, signal, clip: 5 },
          schedule: warmupCosine({ steps, warmup: Math.ceil(steps / 20) }),
          batches: batchesOf(runtime, clouds, { width, batch, task, seed }),
          loss: (p, given, { training }) => lossOf(p, given, training),
          onStep({ step, loss }) {
            if (before) runtime.scope(() => mixIn(parameters, before, anchor));
            onStep?.(step / steps, loss);
          },
        });
      } finally {
        for (const tensor of Object.values(before ?? {})) tensor.dispose();
      }
    },
    async errors({ centers, features }) {
      const places = centers.length / 3;
      using errors = runtime.scope(() => {
        const given = runtime.tensor(features, [1, places, width]);
        const placed = { features: given, centers: runtime.tensor(centers, [1, places, 3]) };
        return errorsOf(reconstruct(tensors, settings, placed, { isFrozen: frozen }), given);
      });
      return await errors.read();
    },
    dispose() {
      for (const tensor of Object.values(tensors)) tensor.dispose();
    },
  };
}

interface Chosen extends Pick<DetectorSettings, 'width' | 'batch'> {
  readonly task: number;
  readonly seed: number;
}

/** The batch of a number: clouds of a pass in an order of its own, and noise. */
const batchesOf =
  (runtime: Runtime, clouds: readonly Places[], { width, batch, task, seed }: Chosen) =>
  (number: number): Batch => {
    const own = seed + 2 ** 20 * (task + 1) + number;
    const order = randomPermutation(clouds.length, seed + task + 7919 * Math.floor((number * batch) / clouds.length));
    const chosen = Array.from(
      { length: batch },
      (_, at) => clouds[order[(number * batch + at) % clouds.length] as number] as Places,
    );
    const places = (chosen[0] as Places).centers.length / 3;
    const joined = (what: 'centers' | 'features', length: number) => {
      const values = new Float32Array(batch * places * length);
      chosen.forEach((cloud, at) => {
        values.set(cloud[what], at * places * length);
      });
      return runtime.tensor(values, [batch, places, length]);
    };
    return {
      features: joined('features', width),
      centers: joined('centers', 3),
      noise: runtime.tensor(normal(batch * places * width, own), [batch, places, width]),
      number: own,
    };
  };

/** The first of a batch. */
const part = (x: Tensor) => x.slice(0, 0, 1);

const copies = (parameters: TrainableParameters): TrainableParameters =>
  Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, contiguous(tensor)]));

function mixIn(parameters: TrainableParameters, before: TrainableParameters, share: number): void {
  for (const [name, tensor] of Object.entries(parameters)) {
    const mixed = map((now, was, { share }) => now + share * (was - now), tensor, before[name] as Tensor, {
      captured: { share },
    });
    contiguous(mixed, { out: tensor as Tensor<'f32'> });
  }
}
