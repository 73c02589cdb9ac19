/** Pictures from prompts: noise, perhaps steered by attention, then steps of the painter with guidance, then the codec. */
import { checkNumber, checkOptions, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { concat, contiguous } from '../../ops/copy';
import { sigmoid } from '../../ops/map';
import { map } from '../../ops/map/map';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { cosineSchedule, denoised, spacedSteps } from '../diffusion';
import { decodeScenes, noiseOf, PLACES } from './codec';
import { judged } from './judge';
import {
  checkMapper,
  checkSubjects,
  type Mapped,
  type MapperOptions,
  mapLatents,
  type Scores,
  scored,
  total,
} from './latent-mapper';
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
  /** Chooses or moves the first noise, so that attention finds each subject. */
  readonly mapper?: MapperOptions | undefined;
  /** Leaves out places much like others in self-attention. */
  readonly prune?: PruneOptions | undefined;
}

export interface Painting {
  /** [64, 64], from 0 to 1. */
  readonly picture: Float32Array;
  /** How likely each class is in it, by the judge. */
  readonly present: Float32Array;
  /** Where the last attention looks for each subject once the layout is settled: [16, 16] each, shares of attention. */
  readonly maps: readonly Float32Array[];
  /** How the first noise was placed; one that was chosen has the distance 0. */
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
const SCHEDULE = cosineSchedule(NOISE_STEPS);
/** Steps of the sampler. */
const STEPS = 25;
/** First noises to choose from. */
const ROUNDS = 8;
/** The share of the variance that is the picture's at the step that settles the layout: earlier, scores tell little (README). */
const SETTLED = 0.13;

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
  const prompt = parsePrompt(text, studio.words);
  const { steps = STEPS, mapper, prune } = settings;
  if (prune) checkRatio(prune.ratio, PLACES ** 2);
  if (mapper) checkSubjects(prompt);
  const all = steps + (roundsOf(mapper) - 1) * settledAfter(steps);
  let done = 0;
  const control = { signal, onStep: () => onProgress?.(++done / all) };
  const { walk, maps, ...start } = await started(studio, prompt, settings, control);
  using _ = walk;
  await walk.to(steps, control);
  return { ...(await developed(studio, walk.latents)), maps, ...start, passes: 2 * steps + start.passes };
}

/** First noises from which the sampler goes. */
const roundsOf = (mapper: MapperOptions | undefined): number =>
  mapper && mapper.way !== 'moved' ? (mapper.rounds ?? ROUNDS) : 1;

/** Steps of so many after which the layout is settled; all but the last if it never is before. */
function settledAfter(steps: number): number {
  const at = spacedSteps(SCHEDULE, steps).findIndex((step) => (SCHEDULE[step] as number) >= SETTLED);
  return at < 0 ? steps - 1 : at;
}

interface Start extends Pick<Painting, 'maps' | 'mapped' | 'passes' | 'backward'> {
  /** At the step that settles the layout. */
  readonly walk: Walk;
}

/** What is seen at that step. */
interface Settled extends Pick<Start, 'walk' | 'maps'> {
  readonly scores: Scores;
}

interface WalkControl extends Pick<PaintControl, 'signal'> {
  readonly onStep: () => void;
}

/** The way from a plain, a moved or a chosen noise, and passes beyond those of the sampler. */
async function started(studio: Studio, prompt: Prompt, settings: PaintSettings, control: WalkControl): Promise<Start> {
  const { runtime, painter } = studio;
  const { seed = 0, steps = STEPS, mapper } = settings;
  const after = settledAfter(steps);
  const settled = async (noise: Tensor): Promise<Settled> => {
    const walk = new Walk(studio, prompt, settings, noise);
    try {
      await walk.to(after, control);
      return { walk, ...(await seen(studio, walk, prompt)) };
    } catch (error) {
      walk.dispose();
      throw error;
    }
  };
  if (mapper && mapper.way !== 'moved') {
    const rounds = roundsOf(mapper);
    const best = await chosen(rounds, (round) => settled(noiseOf(runtime, 1, seed + 2 ** 33 * round)));
    const cost = { passes: rounds + 2 * (rounds - 1) * after, backward: 0 };
    return { walk: best.walk, maps: best.maps, mapped: { ...best.mapped, ...cost }, ...cost };
  }
  const { noise, ...mapped } = mapper
    ? await mapLatents(runtime, painter, prompt, seed, mapper, control)
    : { noise: noiseOf(runtime, 1, seed), passes: 0, backward: 0 };
  const { walk, maps } = await settled(noise);
  const { passes, backward } = mapped;
  return { walk, maps, ...('scores' in mapped && { mapped }), passes, backward };
}

/** The first of the best of several noises. */
async function chosen(rounds: number, settled: (round: number) => Promise<Settled>) {
  let before: Scores | undefined;
  let best: Settled | undefined;
  try {
    for (let round = 0; round < rounds; round++) {
      const own = await settled(round);
      before ??= own.scores;
      const isBest = !best || total(own.scores) < total(best.scores);
      (isBest ? best : own)?.walk.dispose();
      if (isBest) best = own;
    }
  } catch (error) {
    best?.walk.dispose();
    throw error;
  }
  const { walk, maps, scores } = best as Settled;
  return { walk, maps, mapped: { scores, before: before as Scores, distance: 0 } };
}

/** The sampler's way from noise to a picture's latents. */
class Walk implements Disposable {
  readonly #spaced: readonly number[];
  readonly #pruner: Pruner | undefined;
  readonly #studio: Studio;
  readonly #prompt: Prompt;
  readonly #settings: PaintSettings;
  #latents: Tensor;
  #at = 0;

  /** Takes over the noise [1, 16, 16, 4]. */
  constructor(studio: Studio, prompt: Prompt, settings: PaintSettings, noise: Tensor) {
    this.#studio = studio;
    this.#prompt = prompt;
    this.#settings = settings;
    this.#spaced = spacedSteps(SCHEDULE, settings.steps ?? STEPS);
    this.#pruner = settings.prune && pruner(settings.prune);
    this.#latents = noise;
  }

  /** [1, 16, 16, 4]. */
  get latents(): Tensor {
    return this.#latents;
  }

  /** How much of the schedule is gone before the next step. */
  get time(): number {
    return (this.#spaced[this.#at] as number) / NOISE_STEPS;
  }

  /** Goes on until `last` steps are done. */
  async to(last: number, { signal, onStep }: WalkControl): Promise<void> {
    const { runtime } = this.#studio;
    const { eta = 0, seed = 0 } = this.#settings;
    while (this.#at < last) {
      signal?.throwIfAborted();
      const at = this.#at;
      const next = runtime.scope(() => {
        const fresh = eta > 0 ? noiseOf(runtime, 1, seed + 2 ** 41 + at) : undefined;
        const velocity = guided(this.#studio, this.#latents, this.time, this.#prompt, this.#settings, this.#pruner);
        return denoised(this.#latents, velocity, fresh, { from: this.#shareAt(at), to: this.#shareAt(at + 1), eta });
      });
      this.#latents.dispose();
      this.#latents = next;
      this.#at++;
      onStep();
    }
  }

  /** The share of the variance that is the picture's before a step. */
  #shareAt(at: number): number {
    return at < this.#spaced.length ? (SCHEDULE[this.#spaced[at] as number] as number) : 1;
  }

  dispose(): void {
    this.#latents.dispose();
    this.#pruner?.dispose();
  }

  [disposeKey](): void {
    this.dispose();
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

/** Velocities beyond those without the prompt. */
function guided(
  { painter, runtime }: Studio,
  x: Tensor,
  time: number,
  { tokens }: Prompt,
  { guidance = 3 }: PaintSettings,
  pruning: Pruner | undefined,
): Tensor {
  pruning?.step();
  const both = runtime.tensor(Int32Array.from([...tokens, ...NO_PROMPT]), [2, TOKENS], 'i32');
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

/** Where the last attention looks for each subject, and its scores. */
async function seen(
  { painter, runtime }: Studio,
  walk: Walk,
  prompt: Prompt,
): Promise<Pick<Settled, 'maps' | 'scores'>> {
  const kept: Tensor[] = [];
  runtime.scope(() => {
    const found: Maps[] = [];
    const tokens = runtime.tensor(prompt.tokens, [1, TOKENS], 'i32');
    predicted(painter, { x: walk.latents, times: [walk.time], tokens }, { onMaps: (maps) => found.push(maps) });
    const last = found.at(-1) as Maps;
    kept.push(contiguous(last.cross), scored(last, prompt));
    for (const each of kept) runtime.keepBeyondScopes(each);
  });
  const [cross, scores] = kept as [Tensor, Tensor];
  try {
    const values = (await cross.read()) as Float32Array;
    const [missing, overlap] = (await scores.read()) as Float32Array;
    const maps = prompt.subjects.map((token) =>
      Float32Array.from({ length: PLACES ** 2 }, (_, place) => values[place * TOKENS + token] as number),
    );
    return { maps, scores: { missing: missing as number, overlap: overlap as number } };
  } finally {
    for (const each of kept) each.dispose();
  }
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
