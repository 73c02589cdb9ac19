/** The trainings of the three networks that paint, one after the other; each goes on from where it was cut off. */

import { ParameterError } from '../../errors';
import { initial, splitBuffers } from '../../nn';
import type { Described } from '../../nn/module';
import { map } from '../../ops/map/map';
import { mean } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { uniformGenerator } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { adamw, train, warmupCosine } from '../../train';
import { cosineSchedule, noised } from '../diffusion';
import type { Weights } from '../layers';
import { CHANNELS, codecLoss, codecParameters, latentScale, latentsOf, noiseOf } from './codec';
import { judgeLoss, judgeParameters } from './judge';
import { NO_PROMPT, parsePrompt, TOKENS, vocabularySize } from './prompts';
import { type Scenes, SIDE, scenes, type Wardrobe } from './scenes';
import type { NetworkName } from './studio';
import { NOISE_STEPS, painterParameters, predicted } from './unet';

/** Steps that train each, scenes of a step, and the learning rate. */
export const RECIPE: Readonly<Record<NetworkName, Readonly<Record<'steps' | 'batch' | 'learningRate', number>>>> = {
  codec: { steps: 600, batch: 16, learningRate: 3e-3 },
  judge: { steps: 400, batch: 32, learningRate: 3e-3 },
  painter: { steps: 1600, batch: 32, learningRate: 2e-3 },
};

const SCHEDULE = cosineSchedule(NOISE_STEPS);
/** Steps between checkpoints. */
const EVERY = 100;
/** The share of scenes that are learned without their prompt, for guidance. */
const WITHOUT = 0.1;
/** Scenes by which latents are scaled, and the number of the first. */
const SCALED = { count: 128, first: 2 ** 30 };

export interface TrainSettings {
  readonly seed: number;
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
}

export interface TrainStore {
  /** The last checkpoint, if there is one. */
  read(): Promise<Uint8Array | undefined>;
  write(file: Uint8Array): Promise<void>;
}

export interface TrainControl {
  /** The codec's weights, which the painter needs. */
  readonly codec?: Weights | undefined;
  readonly store?: TrainStore | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onStep?: ((share: number, loss: number) => void) | undefined;
}

export const parametersOf = (name: NetworkName, words: readonly string[]): Described =>
  name === 'codec'
    ? codecParameters
    : name === 'judge'
      ? judgeParameters(words.length)
      : painterParameters(vocabularySize(words));

/** Trains one of the networks. */
export async function trainNetwork(
  runtime: Runtime,
  name: NetworkName,
  wardrobe: Wardrobe,
  settings: TrainSettings,
  { codec, store, signal, onStep }: TrainControl = {},
): Promise<Record<string, HostTensor<'f32'>>> {
  const { seed, steps, batch, learningRate } = settings;
  const described = { parameters: parametersOf(name, wardrobe.words) };
  const all = initial(described, runtime, seed);
  try {
    const { parameters } = splitBuffers(described, all);
    using optimizer = adamw(parameters, { learningRate, weightDecay: 0, betas: [0.9, 0.99] });
    const resume = await store?.read();
    const run = <Batch>({ batches, loss }: Work<Batch>) =>
      train({
        ...{ parameters, optimizer, steps, batches, loss, resume, signal, clip: 1 },
        schedule: warmupCosine({ steps, warmup: Math.ceil(steps / 20), floor: 0.02 }),
        checkpoint: store && {
          every: EVERY,
          save: (which, file) => (which === 'last' ? store.write(file) : undefined),
          settings: { name, seed, steps, batch, learningRate },
        },
        onStep: ({ step, loss }) => onStep?.(step / steps, loss),
      });
    if (name === 'codec') await run(codecWork(runtime, wardrobe, settings));
    else if (name === 'judge') await run(judgeWork(runtime, wardrobe, settings));
    else await run(painterWork(runtime, wardrobe, settings, codec));
    const hosts: Record<string, HostTensor<'f32'>> = {};
    for (const [each, tensor] of Object.entries(all)) hosts[each] = await tensor.toHost();
    return name === 'codec' ? { ...hosts, ...(await scaleOf(runtime, all, wardrobe, seed)) } : hosts;
  } finally {
    for (const each of Object.values(all)) each.dispose();
  }
}

async function scaleOf(runtime: Runtime, codec: Weights, wardrobe: Wardrobe, seed: number) {
  const { count, first } = SCALED;
  using x = pixelsOf(runtime, scenes(wardrobe, count, seed, first));
  const scale = await latentScale(codec, x);
  return Object.fromEntries(
    Object.entries(scale).map(([name, values]) => [name, hostTensor(values, [CHANNELS], 'f32')]),
  );
}

export const pixelsOf = (runtime: Runtime, { x }: Scenes): Tensor<'f32'> =>
  runtime.tensor(x, [x.length / SIDE ** 2, SIDE, SIDE, 1]);

interface Work<Batch> {
  readonly batches: (index: number) => Batch;
  readonly loss: (p: Weights, batch: Batch) => Tensor;
}

function codecWork(
  runtime: Runtime,
  wardrobe: Wardrobe,
  { batch, seed }: TrainSettings,
): Work<Parameters<typeof codecLoss>[1]> {
  return {
    batches: (index) => ({
      x: pixelsOf(runtime, scenes(wardrobe, batch, seed, index * batch)),
      noise: noiseOf(runtime, batch, seed + 2 ** 40 + index),
    }),
    loss: codecLoss,
  };
}

function judgeWork(
  runtime: Runtime,
  wardrobe: Wardrobe,
  { batch, seed }: TrainSettings,
): Work<Parameters<typeof judgeLoss>[1]> {
  const { words } = wardrobe;
  return {
    batches: (index) => {
      const drawn = scenes(wardrobe, batch, seed, index * batch);
      const present = drawn.classes.flatMap((classes) => words.map((_, label) => Number(classes.includes(label))));
      return { x: pixelsOf(runtime, drawn), present: runtime.tensor(present, [batch, words.length]) };
    },
    loss: judgeLoss,
  };
}

/** Latents [b, 16, 16, 4] with noise, so that `share` [b, 1, 1, 1] of their variance is left, and how much of the schedule is gone. */
export interface NoisyLatents {
  readonly x: Tensor;
  readonly noise: Tensor;
  readonly share: Tensor;
  readonly times: readonly number[];
}

/** Batch `index` of scenes as latents, at times spread over the whole schedule. */
export function noisyLatents(
  runtime: Runtime,
  drawn: Scenes,
  { batch, seed }: Pick<TrainSettings, 'batch' | 'seed'>,
  codec: Weights,
  index: number,
): NoisyLatents {
  const random = uniformGenerator(seed + 2 ** 41 + index);
  const steps = drawn.prompts.map((_, at) => Math.floor(((at + random()) / batch) * NOISE_STEPS));
  const shares = steps.map((step) => SCHEDULE[step] as number);
  return {
    x: runtime.scope(() => latentsOf(codec, pixelsOf(runtime, drawn))),
    noise: noiseOf(runtime, batch, seed + 2 ** 40 + index),
    share: runtime.tensor(shares, [batch, 1, 1, 1]),
    times: steps.map((step) => step / NOISE_STEPS),
  };
}

/** The mean squared error of predicted velocities. */
export function velocityLoss(
  { x, noise, share, times }: NoisyLatents,
  predict: (x: Tensor, times: readonly number[]) => Tensor,
): Tensor<'f32'> {
  const { x: mixed, velocity } = noised(x, noise, share);
  return mean(map((a, b) => (a - b) * (a - b), predict(mixed, times), velocity));
}

function painterWork(
  runtime: Runtime,
  wardrobe: Wardrobe,
  { batch, seed }: TrainSettings,
  codec?: Weights,
): Work<NoisyLatents & { readonly tokens: Tensor }> {
  if (!codec) throw new ParameterError('the painter is trained on latents: pass the weights of a codec');
  return {
    batches: (index) => {
      const drawn = scenes(wardrobe, batch, seed, index * batch);
      const random = uniformGenerator(seed + 2 ** 42 + index);
      const tokens = drawn.prompts.flatMap((prompt) => [
        ...(random() < WITHOUT ? NO_PROMPT : parsePrompt(prompt, wardrobe.words).tokens),
      ]);
      return {
        ...noisyLatents(runtime, drawn, { batch, seed }, codec, index),
        tokens: runtime.tensor(Int32Array.from(tokens), [batch, TOKENS], 'i32'),
      };
    },
    loss: (p, { tokens, ...latents }) => velocityLoss(latents, (x, times) => predicted(p, { x, times, tokens })),
  };
}
