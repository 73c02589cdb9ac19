import { checkOptions, checkWhole } from '../../check';
import { type Random, type Task, taskOf } from './task';

export interface RegressionOptions {
  /** Tokens of a sequence, of which each point takes `inputs` + 1; default 129. */
  readonly length?: number | undefined;
  /** Inputs of the linear function; default 2. */
  readonly inputs?: number | undefined;
  /** Intervals of inputs, and of values of the function, each as likely as any other; default 64 and 8. */
  readonly bins?: number | undefined;
  readonly answers?: number | undefined;
}

/**
 * Linear regression in context: points x of normal coordinates and their values w x, where w is a direction of the sequence's own.
 * At the last coordinate of each point the value is to be answered, once there were as many points as inputs. Numbers are
 * tokens by the interval that they are in; intervals have the same probability, so a guess is right once in `answers` times, and
 * what the intervals of inputs leave open no model can know.
 * Source: Garg et al. 2022, What Can Transformers Learn In-Context?, arXiv 2208.01066, whose numbers are no tokens.
 */
export function inContextRegression(options: RegressionOptions = {}): Task {
  checkOptions('inContextRegression', options, ['length', 'inputs', 'bins', 'answers']);
  const { length = 129, inputs = 2, bins = 64, answers = 8 } = options;
  checkWhole('inputs', inputs, 1, 64);
  checkWhole('length', length, (inputs + 1) ** 2);
  checkWhole('bins', bins, 2, 2 ** 16);
  checkWhole('answers', answers, 2, 2 ** 16);
  const points = Math.floor(length / (inputs + 1));
  return taskOf(
    'in-context-regression',
    { vocabulary: bins + answers, length: points * (inputs + 1), chance: 1 / answers },
    (tokens, targets, random) => {
      const w = Array.from({ length: inputs }, () => normalOf(random));
      const norm = Math.hypot(...w);
      for (let point = 0; point < points; point++) {
        const first = point * (inputs + 1);
        let y = 0;
        for (let at = 0; at < inputs; at++) {
          const x = normalOf(random);
          y += ((w[at] as number) / norm) * x;
          tokens[first + at] = binOf(x, bins);
        }
        const answer = bins + binOf(y, answers);
        tokens[first + inputs] = answer;
        if (point >= inputs) targets[first + inputs - 1] = answer;
      }
    },
  );
}

const normalOf = (random: Random): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** The number of the interval that x is in, among `bins` that are equally likely for a standard normal number. */
const binOf = (x: number, bins: number): number => Math.min(bins - 1, Math.floor(bins * normalCdf(x)));

/** The standard normal cumulative distribution, to 7.5e-8 (Abramowitz and Stegun 1964, 26.2.17). */
function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const beyond = (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * series;
  return x < 0 ? beyond : 1 - beyond;
}
