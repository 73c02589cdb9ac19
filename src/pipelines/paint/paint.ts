/** Pictures from prompts: noise, perhaps steered by attention, then steps of the painter with guidance, then the codec. */
import { checkNumber, checkOptions, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { concat } from '../../ops/copy';
import { sigmoid } from '../../ops/map';
import { map } from '../../ops/map/map';
import { mean } from '../../ops/reduce';
import type { Tensor } from '../../tensor/tensor';
import { cosineSchedule, denoised, type NoiseSchedule, spacedSteps } from '../diffusion';
import { decodeScenes, noiseOf, PLACES } from './codec';
import { judged } from './judge';
import { checkMapper, checkSubjects, type Mapped, type MapperOptions, mapLatents } from './latent-mapper';
import { NO_PROMPT, type Prompt, parsePrompt, TOKENS } from './prompts';
import { checkPrune, checkRatio, type PruneOptions, type Pruner, pruner } from './prune';
import { Studio } from './studio';
import { type Maps, NOISE_STEPS, predicted } from './unet';

export interface PaintSettings {
  /** Steps of the sampler; default 25. */
  readonly steps?: number | undefined;
  /** How far predictions go beyond those without a prompt; default 3. */
  readonly guidance?: number | undefined;
  /** 0: DDIM; 1: DDPM; default 0. */
  readonly eta?: number | undefined;
  readonly seed?: number | undefined;
  /** Moves the first noise until attention finds each subject. */
  readonly mapper?: MapperOptions | undefined;
  /** Leaves out places much like others in self-attention. */
  readonly prune?: PruneOptions | undefined;
}

export interface Painting {
  /** [64, 64], from 0 to 1. */
  readonly picture: Float32Array;
  /** How likely each class is in it, by the judge. */
  readonly present: Float32Array;
  /** Where the first step attends to each subject: [16, 16] each, shares of attention. */
  readonly maps: readonly Float32Array[];
  readonly mapped?: Omit<Mapped, 'noise'> | undefined;
  /** Passes through the painter, of one picture with and one without the prompt each, and those back. */
  readonly passes: number;
  readonly backward: number;
}

export interface PaintControl {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** Above it a class counts as present. */
export const PRESENT = 0.5;

/**
 * One picture for a prompt.
 *
 * @throws {ParameterError} settings that are unknown or out of range, prompts with unknown words or nothing to paint, a mapper for one
 * subject
 */
export async function paint(
  studio: Studio,
  text: string,
  settings: PaintSettings = {},
  { signal, onProgress }: PaintControl = {},
): Promise<Painting> {
  checkAll(studio, text, settings);
  const { runtime, painter, words } = studio;
  const prompt = parsePrompt(text, words);
  const { steps = 25, eta = 0, seed = 0, mapper, prune } = settings;
  const schedule = cosineSchedule(NOISE_STEPS);
  const spaced = spacedSteps(schedule, steps);
  if (prune) checkRatio(prune.ratio, PLACES ** 2);
  if (mapper) checkSubjects(prompt);
  const pruning = prune && pruner(prune);
  try {
    const { noise, ...mapped } = mapper
      ? await mapLatents(runtime, painter, prompt, seed, mapper, { signal })
      : { noise: noiseOf(runtime, 1, seed), passes: 0, backward: 0 };
    let x: Tensor = noise;
    try {
      const maps = await mapsOf(studio, x, prompt);
      for (const [at, step] of spaced.entries()) {
        signal?.throwIfAborted();
        const next = runtime.scope(() => {
          const fresh = eta > 0 ? noiseOf(runtime, 1, seed + 2 ** 41 + at) : undefined;
          const between = { from: schedule[step] as number, to: shareAfter(schedule, spaced, at), eta };
          return denoised(x, guided(studio, x, step, prompt, settings, pruning), fresh, between);
        });
        x.dispose();
        x = next;
        onProgress?.((at + 1) / spaced.length);
      }
      const { picture, present } = await developed(studio, x);
      return {
        picture,
        present,
        maps,
        ...('scores' in mapped && { mapped }),
        passes: 2 * steps + mapped.passes,
        backward: mapped.backward,
      };
    } finally {
      x.dispose();
    }
  } finally {
    pruning?.dispose();
  }
}

function checkAll(studio: Studio, text: string, settings: PaintSettings): void {
  if (!(studio instanceof Studio)) throw new ParameterError(`studio must be one of openStudio(), got ${show(studio)}`);
  if (typeof text !== 'string') throw new ParameterError(`text must be a string, got ${show(text)}`);
  checkOptions('paint', settings, ['steps', 'guidance', 'eta', 'seed', 'mapper', 'prune']);
  const { steps = 1, guidance = 0, eta = 0, seed = 0, mapper, prune } = settings;
  checkWhole('steps', steps, 1, NOISE_STEPS);
  checkNumber('guidance', guidance, 'finite and at least 0', (each) => each >= 0 && each < Number.POSITIVE_INFINITY);
  checkNumber('eta', eta, 'from 0 to 1', (each) => each >= 0 && each <= 1);
  checkWhole('seed', seed, 0);
  if (mapper !== undefined) checkMapper(mapper);
  if (prune !== undefined) checkPrune(prune);
}

const shareAfter = (schedule: NoiseSchedule, spaced: readonly number[], at: number): number =>
  at + 1 < spaced.length ? (schedule[spaced[at + 1] as number] as number) : 1;

/** Velocities beyond those without the prompt. */
function guided(
  { painter, runtime }: Studio,
  x: Tensor,
  step: number,
  { tokens }: Prompt,
  { guidance = 3 }: PaintSettings,
  pruning: Pruner | undefined,
): Tensor {
  pruning?.step();
  const both = runtime.tensor(Int32Array.from([...tokens, ...NO_PROMPT]), [2, TOKENS], 'i32');
  const time = step / NOISE_STEPS;
  const pair = concat([x, x] as Tensor<'f32'>[], 0);
  const found = predicted(painter, { x: pair, times: [time, time], tokens: both }, { attend: pruning?.attend });
  return map(
    (told, free, { guidance }) => free + guidance * (told - free),
    found.slice(0, 0, 1),
    found.slice(0, 1, 2),
    {
      captured: { guidance },
    },
  ) as Tensor;
}

/** Where the first step attends to each subject, the mean over heads and layers. */
async function mapsOf({ painter, runtime }: Studio, x: Tensor, { tokens, subjects }: Prompt): Promise<Float32Array[]> {
  using average = runtime.scope(() => {
    const found: Maps[] = [];
    const own = runtime.tensor(tokens, [1, TOKENS], 'i32');
    predicted(painter, { x, times: [1], tokens: own }, { onMaps: (maps) => found.push(maps) });
    return mean(concat(found.map(({ cross }) => cross) as Tensor<'f32'>[], 0), { axes: [0] });
  });
  const values = (await average.read()) as Float32Array;
  return subjects.map((token) =>
    Float32Array.from({ length: PLACES ** 2 }, (_, place) => values[place * TOKENS + token] as number),
  );
}

/** The picture of latents [1, 16, 16, 4], and what the judge finds in it. */
async function developed({ codec, judge, runtime }: Studio, x: Tensor): Promise<Pick<Painting, 'picture' | 'present'>> {
  using picture = runtime.scope(() => decodeScenes(codec, x));
  using present = runtime.scope(() => sigmoid(judged(judge, picture).logits));
  return {
    picture: ((await picture.read()) as Float32Array).slice(),
    present: ((await present.read()) as Float32Array).slice(),
  };
}
