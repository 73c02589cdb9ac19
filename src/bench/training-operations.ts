/** The training step of a decoder, as `train` takes it: gradients by the tape, their norm, and an optimiser's update. */

import { area } from '../masks/area';
import { causal } from '../masks/band';
import { createDecoder } from '../models/decoder';
import type { TrainableParameters } from '../nn';
import { fillStart } from '../nn/module';
import type { Runtime } from '../runtime/runtime';
import { differentiate } from '../tape';
import { type HostTensor, hostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { adamw, globalNorm, muon, type Optimizer } from '../train';
import type { AdamwOptions } from '../train/adamw';
import { bytesOfWork } from '../train/memory';
import type { MuonOptions } from '../train/muon';
import { known } from './expected';
import { extentOf, type Operation, type Problem } from './problem';

/** Beside a problem's n, h and d: width h d, causal attention. */
export interface Training {
  readonly batch: number;
  readonly layers: number;
  /** Within the feed-forward networks. */
  readonly hidden: number;
  readonly vocabulary: number;
  /** Whether each layer is computed once more in the backward pass. */
  readonly recompute?: boolean;
  readonly optimizer: OptimizerSettings;
  /** The number of steps with a batch of their own, whose losses are checked. */
  readonly steps: number;
}

type AdamwSettings = { readonly [Name in keyof AdamwOptions]-?: NonNullable<AdamwOptions[Name]> };

/** In the form of `saccade train`. */
type OptimizerSettings =
  | ({ readonly name: 'adamw' } & AdamwSettings)
  | ({ readonly name: 'muon' } & Omit<MuonOptions, 'only'>);

/** A step. Its result is the losses of the first steps, each before its update, which should be `losses`. */
export function trainingStep(training: Training, losses: readonly number[]): Operation {
  const { steps, optimizer: settings, recompute } = training;
  return {
    name: `training step, ${settings.name}`,
    flops: (problem) => flopsOfStep(problem, training),
    size: () => steps,
    bytes: (problem) => 4 * countOf(problem, training),
    expected: () => [known(losses, 'largest loss')],
    given(problem) {
      const tensors = { ...weightsOf(problem, training), tokens: tokensOf(problem, training) };
      const shapes = Object.fromEntries(Object.entries(tensors).map(([each, { shape }]) => [each, shape]));
      return { tensors, settings: { config: configOf(problem, training), optimizer: settings, shapes } };
    },
    open(runtime, { problem }) {
      const decoder = decoderOf(problem, training);
      const parameters = decoder.initialize(runtime);
      const optimizer = optimizerOf(parameters, settings);
      const tokens = tokensOf(problem, training);
      const found: number[] = [];
      const call = async () => {
        const batch = batchOf(runtime, tokens, found.length % steps);
        const { loss, gradients } = differentiate(
          (tracked) => decoder.loss(tracked, batch.tokens, batch.targets, { recompute }),
          parameters,
        );
        using norm = globalNorm(gradients);
        const [value] = await Promise.all([loss.read(), norm.read()]);
        optimizer.step(gradients);
        disposeAll({ ...batch, ...gradients, loss });
        found.push(value[0] as number);
      };
      return {
        call,
        async result() {
          while (found.length < steps) await call();
          return Float32Array.from(found.slice(0, steps));
        },
        tensors: [...Object.values(parameters), optimizer],
      };
    },
  };
}

/**
 * What a step costs beside its ops: the same calls, recorded and pulled back where nothing is computed, and an update
 * by gradients equal to the initial parameters. Its result is the first matrix after one update.
 */
export function tapeAndUpdate(training: Training & { readonly optimizer: AdamwSettings }): Operation {
  const { optimizer: settings, recompute } = training;
  const first = (problem: Problem) => Object.values(weightsOf(problem, training))[0]!.data as Float32Array;
  return {
    name: 'tape and update, adamw',
    flops: () => 0,
    size: (problem) => first(problem).length,
    bytes: (problem) => 16 * countOf(problem, training),
    expected(problem) {
      const { learningRate, epsilon, weightDecay } = settings;
      const numbers = Float64Array.from(
        first(problem),
        (x) => x * (1 - learningRate * weightDecay) - (learningRate * x) / (Math.abs(x) + epsilon),
      );
      return [known(numbers, 'largest parameter')];
    },
    open(runtime, { problem }) {
      const decoder = decoderOf(problem, training);
      const [parameters, gradients] = [decoder.initialize(runtime), decoder.initialize(runtime)];
      const optimizer = optimizerOf(parameters, settings);
      const batch = batchOf(runtime, tokensOf(problem, training), 0);
      let updated: Promise<Float32Array> | undefined;
      return {
        async call() {
          const recorded = bytesOfWork(runtime.backend.name, { parameters, batch }, ({ parameters, batch }) =>
            differentiate((tracked) => decoder.loss(tracked, batch.tokens, batch.targets, { recompute }), parameters),
          );
          if (recorded === undefined) throw new Error('the step was not recorded');
          using norm = globalNorm(gradients);
          await norm.read();
          optimizer.step(gradients);
          updated ??= (Object.values(parameters)[0] as Tensor).read() as Promise<Float32Array>;
        },
        result: () => updated as Promise<Float32Array>,
        tensors: [...Object.values({ ...batch, ...parameters }), ...Object.values(gradients), optimizer],
      };
    },
  };
}

/**
 * The most bytes that a step may hold: 1.3 times what parameters, gradients, two moments, what the backward pass needs
 * of each layer, and the logits take.
 */
export function memoryBound(problem: Problem, training: Training): number {
  const { n, h, d } = problem;
  const { batch, layers, hidden, vocabulary } = training;
  const tokens = batch * n;
  const kept = tokens * layers * (10 * h * d + 3 * hidden);
  return 1.3 * (16 * countOf(problem, training) + 4 * kept + 4 * tokens * vocabulary);
}

/** Operations of the model: the backward pass has two products for each of the forward pass. */
function flopsOfStep(problem: Problem, { batch, layers, hidden, vocabulary }: Training): number {
  const { n, h, d } = problem;
  const width = h * d;
  const matrices = layers * (4 * width ** 2 + 3 * width * hidden) + width * vocabulary;
  const attention = 4 * d * layers * area(causal(), extentOf(problem));
  return 3 * batch * (2 * n * matrices + attention);
}

function countOf(problem: Problem, training: Training): number {
  return Object.values(decoderOf(problem, training).parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

function configOf({ h, d }: Problem, { layers, hidden, vocabulary }: Training) {
  return {
    model_type: 'llama',
    hidden_size: h * d,
    intermediate_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: h,
    vocab_size: vocabulary,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    tie_word_embeddings: true,
  };
}

const decoderOf = (problem: Problem, training: Training) => createDecoder(configOf(problem, training));

/** What `initialize` starts from. */
function weightsOf(problem: Problem, training: Training): Record<string, HostTensor<'f32'>> {
  const entries = Object.entries(decoderOf(problem, training).parameters);
  return Object.fromEntries(
    entries.map(([name, { shape, initial }], at) => {
      const values = new Float32Array(sizeOf(shape));
      fillStart(values, initial, at);
      return [name, hostTensor(values, shape, 'f32')];
    }),
  );
}

/** [steps, batch, n + 1] i32: small tokens are more frequent, so that there is something to learn. */
function tokensOf({ n }: Problem, { batch, vocabulary, steps }: Training): HostTensor<'i32'> {
  const uniform = uniformGenerator(7);
  const shape = [steps, batch, n + 1];
  const data = Int32Array.from({ length: sizeOf(shape) }, () => Math.floor(vocabulary * uniform() ** 3));
  return hostTensor(data, shape, 'i32');
}

function batchOf(runtime: Runtime, { data, shape }: HostTensor<'i32'>, step: number) {
  const [, batch, along] = shape as [number, number, number];
  const rows = (from: number) => {
    const numbers = new Int32Array(batch * (along - 1));
    for (let row = 0; row < batch; row++) {
      const start = (step * batch + row) * along + from;
      numbers.set(data.subarray(start, start + along - 1), row * (along - 1));
    }
    return runtime.tensor(numbers, [batch, along - 1], 'i32');
  };
  return { tokens: rows(0), targets: rows(1) };
}

function optimizerOf(parameters: TrainableParameters, { name, ...options }: OptimizerSettings): Optimizer {
  return name === 'adamw' ? adamw(parameters, options) : muon(parameters, options);
}

function disposeAll(tensors: Readonly<Record<string, Tensor>>): void {
  for (const each of Object.values(tensors)) each.dispose();
}
