/**
 * Diffusion: how much of a picture is left after so many steps of noise, and the way back in few of them.
 * Sources: Ho, Jain and Abbeel 2020, arXiv 2006.11239; Song, Meng and Ermon 2020, arXiv 2010.02502; Nichol and Dhariwal 2021,
 * arXiv 2102.09672 (the cosine); Salimans and Ho 2022, arXiv 2202.00512 (velocities).
 */
import { checkNumber, checkWhole, show } from '../check';
import { ParameterError } from '../errors';
import { map } from '../ops/map/map';
import type { Tensor } from '../tensor/tensor';

/** By step, from the first: the share of the variance that is still the picture's, in descending order. */
export type NoiseSchedule = Float64Array;

/** The largest share of what is left that one step of the cosine may take. */
const MOST_TAKEN = 0.999;
const OFFSET = 0.008;

/** Shares that fall as the square of a cosine. */
export function cosineSchedule(steps: number): NoiseSchedule {
  checkWhole('steps', steps, 1);
  const left = (step: number) => Math.cos((((step / steps + OFFSET) / (1 + OFFSET)) * Math.PI) / 2) ** 2;
  return products(steps, (step) => Math.min(1 - left(step + 1) / left(step), MOST_TAKEN));
}

/** Steps that take a share from `first` to `last` of what is left. */
export function linearSchedule(steps: number, first = 1e-4, last = 0.02): NoiseSchedule {
  checkWhole('steps', steps, 2);
  for (const [name, share] of Object.entries({ first, last }))
    checkNumber(name, share, 'from 0 to below 1', (each) => each >= 0 && each < 1);
  return products(steps, (step) => first + ((last - first) * step) / (steps - 1));
}

function products(steps: number, taken: (step: number) => number): NoiseSchedule {
  const shares = new Float64Array(steps);
  let share = 1;
  for (let step = 0; step < steps; step++) {
    share *= 1 - taken(step);
    shares[step] = share;
  }
  return shares;
}

/** `count` steps from the last one down, evenly apart. */
export function spacedSteps(schedule: NoiseSchedule, count: number): number[] {
  if (!(schedule instanceof Float64Array))
    throw new ParameterError(`schedule must be a Float64Array, got ${show(schedule)}`);
  checkWhole('count', count, 1, schedule.length);
  return Array.from({ length: count }, (_, at) => Math.round(schedule.length - (at * schedule.length) / count) - 1);
}

/** x with so much noise that `share` [b, 1, ...] of the variance is left, and the velocity that a network learns there. */
export function noised(x: Tensor, noise: Tensor, share: Tensor): Record<'x' | 'velocity', Tensor<'f32'>> {
  const [mixed, velocity] = map(
    (x, noise, share) => {
      const signal = Math.sqrt(share);
      const rest = Math.sqrt(1 - share);
      return [signal * x + rest * noise, signal * noise - rest * x];
    },
    x,
    noise,
    share,
  ) as [Tensor<'f32'>, Tensor<'f32'>];
  return { x: mixed, velocity };
}

export interface DenoiseStep {
  /** The share that is left in x, and the larger one in the result; 1 for the last step. */
  readonly from: number;
  readonly to: number;
  /** 0: DDIM, without fresh noise; 1: DDPM, with the variance of the posterior. */
  readonly eta: number;
}

/** One step back from x by its predicted velocity; `fresh` is normal noise, which eta 0 does not need. */
export function denoised(x: Tensor, velocity: Tensor, fresh: Tensor | undefined, step: DenoiseStep): Tensor<'f32'> {
  const { from, to, eta } = step;
  const drawn = fresh && eta > 0 ? eta * Math.sqrt(((1 - to) / (1 - from)) * (1 - from / to)) : 0;
  const captured = {
    signal: Math.sqrt(from),
    rest: Math.sqrt(1 - from),
    next: Math.sqrt(to),
    kept: Math.sqrt(Math.max(0, 1 - to - drawn ** 2)),
    drawn,
  };
  return map(
    (x, velocity, fresh, { signal, rest, next, kept, drawn }) =>
      next * (signal * x - rest * velocity) + kept * (rest * x + signal * velocity) + drawn * fresh,
    x,
    velocity,
    fresh ?? x,
    { captured },
  ) as Tensor<'f32'>;
}
