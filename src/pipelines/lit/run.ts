/** Training of a diffusion transformer on the painter's latents, and what comes of it. */
import { dynamicProjection } from '../../methods/linear/dydila/dynamic-projection';
import { initial } from '../../nn';
import { mean } from '../../ops/reduce';
import type { Tensor } from '../../tensor/tensor';
import { adamw, train, warmupCosine } from '../../train';
import { cosineSchedule, denoised, spacedSteps } from '../diffusion';
import { type FeatureRows, frechetDistance } from '../frechet';
import type { Weights } from '../layers';
import { decodeScenes, latentsOf, noiseOf } from '../paint/codec';
import { FEATURES, judged } from '../paint/judge';
import { type Scenes, scenes, type Wardrobe } from '../paint/scenes';
import type { Studio } from '../paint/studio';
import { type NoisyLatents, noisyLatents, pixelsOf, velocityLoss } from '../paint/train';
import { NOISE_STEPS } from '../paint/unet';
import { type LitConfig, litParameters, litPredicted } from './network';

export interface LitSettings {
  readonly seed: number;
  /** Steps of training, and scenes of each. */
  readonly steps: number;
  readonly batch: number;
  /** Pictures that are painted for the Frechet distance, and the sampler's steps. */
  readonly pictures: number;
  readonly sampled: number;
}

interface LitControl {
  readonly signal?: AbortSignal | undefined;
  readonly onStep?: ((step: number, loss: number) => void) | undefined;
}

export interface LitFound {
  /** The mean squared error of velocities on scenes that were not learned from. */
  readonly loss: number;
  /** The same on those that were learned from, the mean over each twentieth of the steps. */
  readonly losses: readonly number[];
  /** Frechet distance of painted scenes from drawn ones that went through the codec, by the judge's features. */
  readonly distance: number;
  /** How often tokens pick the matrix of redundant queries that is picked most, the next and so on, the mean over blocks; of routed attention. */
  readonly routes?: readonly number[] | undefined;
  /** How evenly they do, from 0 (only one) to 1 (all alike). */
  readonly evenness?: number | undefined;
}

interface LitTrained extends LitFound {
  /** The first pictures that were painted, up to eight of [64, 64], from 0 to 1. */
  readonly painted: Float32Array;
}

type Batch = NoisyLatents & { readonly present: Tensor };

const LEARNING_RATE = 3e-3;
/** Where scenes begin that are not learned from, and those with which pictures are compared. */
const [UNSEEN, DRAWN] = [2 ** 29, 2 ** 28];
/** Batches over which the loss is averaged. */
const MEASURED = 8;
/** Parts of a training over which its losses are told, and pictures that are shown. */
const [PARTS, SHOWN] = [20, 8];

/** Trains a transformer on a studio's latents, and measures it. */
export async function trainLit(
  studio: Studio,
  config: LitConfig,
  wardrobe: Wardrobe,
  settings: LitSettings,
  { signal, onStep }: LitControl = {},
): Promise<LitTrained> {
  const { runtime, codec } = studio;
  const { seed, steps, batch, pictures } = settings;
  const course: number[] = [];
  const parameters = initial({ parameters: litParameters(config) }, runtime, seed);
  const batchFrom = (first: number) => (index: number) => {
    const drawn = scenes(wardrobe, batch, seed, first + index * batch);
    const latents = noisyLatents(runtime, drawn, { batch, seed }, codec, first + index);
    return { ...latents, present: presentIn(studio, drawn) };
  };
  const loss = (p: Weights, { present, ...latents }: Batch) =>
    velocityLoss(latents, (x, times) => litPredicted(p, config, { x, times, present }));
  try {
    using optimizer = adamw(parameters, { learningRate: LEARNING_RATE, weightDecay: 0, betas: [0.9, 0.99] });
    await train({
      parameters,
      optimizer,
      steps,
      batches: batchFrom(0),
      loss,
      schedule: warmupCosine({ steps, warmup: Math.ceil(steps / 20), floor: 0.02 }),
      signal,
      clip: 1,
      onStep({ step, loss }) {
        course.push(loss);
        onStep?.(step, loss);
      },
    });
    let total = 0;
    for (let index = 0; index < MEASURED; index++) {
      using value = runtime.scope(() => loss(parameters, batchFrom(UNSEEN)(index)));
      total += ((await value.read())[0] as number) / MEASURED;
    }
    const { painted, features } = await scenesPainted(studio, parameters, config, wardrobe, settings, signal);
    const distance = await frechetDistance(runtime, features, await featuresDrawn(studio, wardrobe, pictures));
    const routes = await routesOf(studio, parameters, config, () => batchFrom(UNSEEN)(0));
    return { loss: total, losses: inParts(course), distance, ...routes, painted };
  } finally {
    for (const each of Object.values(parameters)) each.dispose();
  }
}

/** The Frechet distance between two sets of drawn scenes: what a perfect painter would have. */
export async function distanceOfDrawn(studio: Studio, wardrobe: Wardrobe, count: number): Promise<number> {
  const [one, other] = [await featuresDrawn(studio, wardrobe, count), await featuresDrawn(studio, wardrobe, count, 1)];
  return frechetDistance(studio.runtime, one, other);
}

/** [b, classes]: 1 for what is in a scene. */
const presentIn = ({ runtime, words }: Studio, { classes }: Scenes): Tensor =>
  runtime.tensor(
    classes.flatMap((own) => words.map((_, label) => Number(own.includes(label)))),
    [classes.length, words.length],
  );

async function featuresOf({ runtime, judge }: Studio, pictures: () => Tensor): Promise<FeatureRows> {
  using features = runtime.scope(() => judged(judge, pictures()).features);
  return { width: FEATURES, x: ((await features.read()) as Float32Array).slice() };
}

/** Features of drawn scenes as the codec gives them back. */
const featuresDrawn = (studio: Studio, wardrobe: Wardrobe, count: number, seed = 0): Promise<FeatureRows> =>
  featuresOf(studio, () => {
    const { runtime, codec } = studio;
    return decodeScenes(codec, latentsOf(codec, pixelsOf(runtime, scenes(wardrobe, count, seed, DRAWN))));
  });

/** Scenes painted with the garments of drawn ones, by DDIM without guidance, and their features. */
async function scenesPainted(
  studio: Studio,
  parameters: Weights,
  config: LitConfig,
  wardrobe: Wardrobe,
  { seed, pictures, sampled }: LitSettings,
  signal: AbortSignal | undefined,
): Promise<Pick<LitTrained, 'painted'> & { readonly features: FeatureRows }> {
  const { runtime, codec } = studio;
  const schedule = cosineSchedule(NOISE_STEPS);
  const spaced = spacedSteps(schedule, sampled);
  using present = presentIn(studio, scenes(wardrobe, pictures, seed, UNSEEN));
  let x: Tensor = noiseOf(runtime, pictures, seed + 2 ** 40);
  try {
    for (const [at, step] of spaced.entries()) {
      signal?.throwIfAborted();
      const from = schedule[step] as number;
      const to = at + 1 < spaced.length ? (schedule[spaced[at + 1] as number] as number) : 1;
      const next = runtime.scope(() => {
        const times = new Array<number>(pictures).fill(step / NOISE_STEPS);
        return denoised(x, litPredicted(parameters, config, { x, times, present }), undefined, { from, to, eta: 0 });
      });
      x.dispose();
      x = next;
    }
    using first = runtime.scope(() => decodeScenes(codec, x.slice(0, 0, Math.min(SHOWN, pictures))));
    const painted = (await first.read()).slice();
    return { painted, features: await featuresOf(studio, () => decodeScenes(codec, x)) };
  } finally {
    x.dispose();
  }
}

/** How tokens use the matrices of redundant queries. */
async function routesOf(
  { runtime }: Studio,
  parameters: Weights,
  config: LitConfig,
  batch: () => Batch,
): Promise<Pick<LitFound, 'routes' | 'evenness'>> {
  if (config.kind !== 'dydila') return {};
  const shares: Tensor[] = [];
  runtime.scope(() => {
    litPredicted(parameters, config, batch(), (p, x) => {
      const router = (p['q_redundant_router.weight'] as Tensor).permute([1, 0]);
      const bank = (p['q_redundant_proj.weight'] as Tensor).permute([0, 2, 1]);
      const share = mean(dynamicProjection({ x, router, bank }).choices, { axes: [0, 1] });
      runtime.keepBeyondScopes(share);
      shares.push(share);
    });
  });
  const found: number[][] = [];
  for (const each of shares) {
    found.push([...((await each.read()) as Float32Array)].sort((a, b) => b - a));
    each.dispose();
  }
  const [first] = found as [number[]];
  return {
    routes: first.map((_, at) => meanOf(found.map((used) => used[at] as number))),
    evenness: meanOf(found.map(evennessOf)),
  };
}

/** The entropy of shares over that of equal ones. */
const evennessOf = (used: readonly number[]): number =>
  used.reduce((sum, share) => (share > 0 ? sum - share * Math.log(share) : sum), 0) / Math.log(used.length);

const meanOf = (values: readonly number[]): number => values.reduce((sum, each) => sum + each, 0) / values.length;

/** Means over parts of even length. */
function inParts(values: readonly number[]): number[] {
  const parts = Math.min(PARTS, values.length);
  const end = (part: number) => Math.round((part * values.length) / parts);
  return Array.from({ length: parts }, (_, part) => meanOf(values.slice(end(part), end(part + 1))));
}
