/**
 * LatentMapper: a first noise from which attention finds every subject of the prompt and keeps them apart. It is moved, and still nearly
 * normal, as in the paper, or chosen among several by the same scores at the step that settles the layout.
 * Sources: OptiPrune, 2025, arXiv 2507.00789, by a third party's summary; rounds and constants from the code of InitNO.
 */
import { checkChoice, checkNumber, checkOptions, checkWhole } from '../../check';
import { ParameterError } from '../../errors';
import { subjectScores } from '../../methods/pipelines/subject-scores';
import { contiguous } from '../../ops/copy';
import { map } from '../../ops/map/map';
import { mean, sum } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import { differentiate } from '../../tape';
import type { Tensor } from '../../tensor/tensor';
import { adamw, type Optimizer } from '../../train';
import { drawn } from '../gaussian';
import type { Weights } from '../layers';
import { CHANNELS, noiseOf, PLACES } from './codec';
import type { Prompt } from './prompts';
import { type Maps, predicted, type SelfAttention } from './unet';

export const MAPPER_WAYS = ['chosen', 'moved'] as const;

export interface MapperOptions {
  /** Whether the best of several noises is chosen, or one is moved as in the paper; default chosen. The rest is for moves. */
  readonly way?: (typeof MAPPER_WAYS)[number] | undefined;
  /** First noises that are tried; default 8 to choose from, 5 to move. */
  readonly rounds?: number | undefined;
  /** Steps of each; default 10. */
  readonly steps?: number | undefined;
  /** Steps of the best where none is good enough; default 50. */
  readonly last?: number | undefined;
  /** Scores below which noise is good: the worst subject's, and what two share; default 0.2 and 0.3. */
  readonly missing?: number | undefined;
  readonly overlap?: number | undefined;
  readonly learningRate?: number | undefined;
  /** How far the noise may get from a normal one, by Kullback and Leibler, the mean over its numbers; default 0.001. */
  readonly distance?: number | undefined;
}

export interface Mapped {
  /** [1, 16, 16, 4]. */
  readonly noise: Tensor<'f32'>;
  readonly scores: Scores;
  /** Those of the first noise that was tried. */
  readonly before: Scores;
  readonly distance: number;
  /** Passes through the network, and those that went back as well. */
  readonly passes: number;
  readonly backward: number;
}

export interface Scores {
  /** 1 less the attention on the worst subject, at the place where it has most. */
  readonly missing: number;
  /** What places of two subjects look at alike, from 0 to 0.5. */
  readonly overlap: number;
}

/** Steps on the distance alone after a step, at most. */
const MOST_BACK = 50;

type Start = { readonly mean: Tensor; readonly logVariance: Tensor };

/** The scores of maps of one picture, [1, 2]: what the worst subject lacks, and what subjects share. */
export function scored({ cross, self }: Maps, { length, subjects }: Prompt): Tensor<'f32'> {
  const grid = [1, PLACES, PLACES];
  const inputs = {
    cross: contiguous(cross.slice(2, 0, length)).reshape([...grid, length]),
    self: self.reshape([...grid, PLACES ** 2]),
  };
  return subjectScores.forward(inputs, { subjects: [...subjects], smooth: true }).out as Tensor<'f32'>;
}

/** The scores of noise [1, 16, 16, 4] at the first step, by the mean of maps, [1, 2]. */
function scoresOf(p: Weights, x: Tensor, prompt: Prompt, attend?: SelfAttention): Tensor<'f32'> {
  const found: Maps[] = [];
  const tokens = x.runtime.tensor(prompt.tokens, [1, prompt.tokens.length], 'i32');
  predicted(p, { x, times: [1], tokens }, { attend, onMaps: (maps) => found.push(maps) });
  const average = (maps: Tensor[]) =>
    mean(map((a, b) => (a + b) / 2, maps[0] as Tensor, maps[1] as Tensor).reshape([1, ...(maps[0] as Tensor).shape]), {
      axes: [0],
    });
  return scored(
    { cross: average(found.map(({ cross }) => cross)), self: average(found.map(({ self }) => self)) },
    prompt,
  );
}

/** The mean over numbers of how far they are from normal ones. */
const distanceOf = ({ mean: middle, logVariance }: Start): Tensor<'f32'> =>
  mean(map((m, log) => -0.5 * (1 + log - m * m - Math.exp(log)), middle, logVariance));

/**
 * Tries noises in turn, each moved by a few steps, until both scores are low; else the best is moved for longer. The caller
 * disposes `noise`.
 *
 * @throws {ParameterError} fewer than two subjects
 */
export async function mapLatents(
  runtime: Runtime,
  p: Weights,
  prompt: Prompt,
  seed: number,
  options: MapperOptions = {},
  { signal, attend }: { signal?: AbortSignal | undefined; attend?: SelfAttention | undefined } = {},
): Promise<Mapped> {
  checkSubjects(prompt);
  const { rounds = 5, steps = 10, last = 50 } = options;
  const count = { passes: 0, backward: 0 };
  const found: { best?: Moved & { readonly seed: number }; before?: Scores } = {};
  /** Whether the noise of a seed is good once it was moved; it is kept if it is the best so far. */
  const attempt = async (own: number, most: number) => {
    const { best } = found;
    const made = await moved(runtime, p, prompt, own, most, options, { count, signal, attend });
    found.before ??= made.first;
    const isBetter = !best || made.isGood || total(made.scores) < total(best.scores);
    (isBetter ? best?.noise : made.noise)?.dispose();
    if (isBetter) found.best = { ...made, seed: own };
    return made.isGood;
  };
  try {
    let isGood = false;
    for (let round = 0; round < rounds && !isGood; round++) isGood = await attempt(seed + 2 ** 33 * round, steps);
    if (!isGood && (rounds === 0 || last > 0)) await attempt(found.best?.seed ?? seed, last);
  } catch (error) {
    found.best?.noise.dispose();
    throw error;
  }
  const { noise, scores, distance } = found.best as Moved;
  return { noise, scores, distance, before: found.before as Scores, ...count };
}

/** @throws {ParameterError} options that are unknown or out of range */
export function checkMapper(options: MapperOptions): void {
  const names = ['missing', 'overlap', 'learningRate', 'distance'] as const;
  checkOptions('mapper', options, ['way', 'rounds', 'steps', 'last', ...names]);
  const { way = 'chosen', rounds = 0, steps = 0, last = 0 } = options;
  checkChoice('way', way, MAPPER_WAYS);
  for (const [name, value] of Object.entries({ rounds, steps, last })) checkWhole(name, value, 0);
  if (way === 'chosen' && options.rounds === 0) throw new ParameterError('rounds must be at least 1 to choose from');
  for (const name of names)
    checkNumber(
      name,
      options[name] === undefined ? 0 : options[name],
      'finite and at least 0',
      (value) => value >= 0 && value < Infinity,
    );
}

export function checkSubjects({ subjects }: Prompt): void {
  if (subjects.length < 2)
    throw new ParameterError(
      `the latent mapper keeps subjects apart and needs two in the prompt, got ${subjects.length}`,
    );
}

export const total = ({ missing, overlap }: Scores) => missing + overlap;

interface Moved extends Pick<Mapped, 'noise' | 'scores' | 'distance'> {
  readonly first: Scores;
  readonly isGood: boolean;
}

interface MoveControl {
  readonly count: { passes: number; backward: number };
  readonly signal?: AbortSignal | undefined;
  readonly attend?: SelfAttention | undefined;
}

/** The noise of a seed, moved until it is good, or by so many steps. */
async function moved(
  runtime: Runtime,
  p: Weights,
  prompt: Prompt,
  seed: number,
  steps: number,
  { missing = 0.2, overlap = 0.3, learningRate = 1e-2, distance: most = 1e-3 }: MapperOptions,
  { count, signal, attend }: MoveControl,
): Promise<Moved> {
  using noise = noiseOf(runtime, 1, seed);
  const shape = [1, PLACES, PLACES, CHANNELS];
  using middle = runtime.full(shape, 0);
  using logVariance = runtime.full(shape, 0);
  const start: Start = { mean: middle, logVariance };
  using optimizer = adamw({ ...start }, { learningRate, epsilon: 1e-3, weightDecay: 0 });
  let first: Scores | undefined;
  let scores: Scores;
  let distance = 0;
  for (let step = 0; ; step++) {
    signal?.throwIfAborted();
    const isLast = step === steps;
    const found = await lossOf(runtime, start, (at) => scoresOf(p, drawn(at, noise), prompt, attend), !isLast);
    count.passes++;
    if (!isLast) count.backward++;
    scores = { missing: found.values[0] as number, overlap: found.values[1] as number };
    first ??= scores;
    if (isLast || isGood(scores)) {
      found.dispose();
      break;
    }
    optimizer.step(found.gradients as never);
    found.dispose();
    distance = await back(runtime, start, optimizer, most);
  }
  const moved = runtime.scope(() => map((x) => x, drawn(start, noise)) as Tensor<'f32'>);
  return { noise: moved, scores, first, distance, isGood: isGood(scores) };

  function isGood(scores: Scores): boolean {
    return scores.missing < missing && scores.overlap < overlap;
  }
}

/** Steps on the distance alone while it is too far; where momentum carries them on, the rest of the way at once. */
async function back(runtime: Runtime, start: Start, optimizer: Optimizer, most: number): Promise<number> {
  for (let step = 0; ; step++) {
    const { values, gradients, dispose } = await lossOf(runtime, start, distanceOf, true);
    const distance = values[0] as number;
    if (distance > most && step < MOST_BACK) optimizer.step(gradients as never);
    dispose();
    if (distance <= most) return distance;
    if (step < MOST_BACK) continue;
    // It grows about as the square.
    const factor = 0.9 * Math.sqrt(most / distance);
    for (const each of Object.values(start))
      map((x, { factor }) => factor * x, each, { captured: { factor }, out: each });
  }
}

/** The numbers that `work` gives and, if they are wanted, the gradients of their sum. */
async function lossOf(runtime: Runtime, start: Start, work: (start: Start) => Tensor, wanted: boolean) {
  let seen: Tensor | undefined;
  const total = (found: Tensor) => {
    seen = contiguous(found);
    runtime.keepBeyondScopes(seen);
    return sum(found);
  };
  const found = wanted
    ? differentiate((tracked: Record<string, Tensor>) => total(work(tracked as never)), { ...start })
    : { loss: runtime.scope(() => total(work(start))), gradients: {} };
  const values = [...((await (seen as unknown as Tensor).read()) as Float32Array)];
  return {
    values,
    gradients: found.gradients,
    dispose() {
      seen?.dispose();
      found.loss.dispose();
      for (const each of Object.values<Tensor>(found.gradients as Record<string, Tensor>)) each.dispose();
    },
  };
}
