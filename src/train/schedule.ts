/** Schedules of the learning rate: a factor for each step. */
import { checkOptions, checkWhole } from '../check';
import { checkNumber } from './optimizer';

/** From a step's number, from 0, to a factor on the learning rate, from 0 to 1. */
export type Schedule = (step: number) => number;

export interface WarmupCosineOptions {
  /** Steps of the whole training. */
  readonly steps: number;
  /** Steps of linear warm-up; default 0. */
  readonly warmup?: number | undefined;
  /** The share after the last step, below 1; default 0. */
  readonly floor?: number | undefined;
}

/** Linear warm-up, then half a period of a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983). */
export function warmupCosine(options: WarmupCosineOptions): Schedule {
  checkOptions('warmupCosine', options, ['steps', 'warmup', 'floor']);
  const { steps, warmup, floor } = checkAll(options);
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    const gone = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return floor + ((1 - floor) * (1 + Math.cos(Math.PI * gone))) / 2;
  };
}

export interface WarmupStableDecayOptions extends WarmupCosineOptions {
  /** Steps of the linear fall at the end. */
  readonly decay: number;
}

/** Linear warm-up, constant, then a linear fall over the last steps (Hu et al. 2024, arXiv 2404.06395). */
export function warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
  checkOptions('warmupStableDecay', options, ['steps', 'warmup', 'decay', 'floor']);
  const { steps, warmup, floor } = checkAll(options);
  const { decay } = options;
  checkWhole('decay', decay, 0, steps - warmup);
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    if (step < steps - decay) return 1;
    return floor + (1 - floor) * Math.max(0, (steps - step) / Math.max(1, decay));
  };
}

function checkAll({ steps, warmup = 0, floor = 0 }: WarmupCosineOptions) {
  checkWhole('steps', steps, 1);
  checkWhole('warmup', warmup, 0, steps);
  checkNumber('floor', floor, 0, 1);
  return { steps, warmup, floor };
}
