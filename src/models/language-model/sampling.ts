/** Chooses the next token from the logits of a row. */
import { checkRecord, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { uniformGenerator } from '../../tensor/random';

export interface SamplingOptions {
  /** What logits are divided by before a token is drawn; 0, the default, takes the likeliest. */
  readonly temperature?: number | undefined;
  /** Only so many of the likeliest tokens are drawn from; default: all. */
  readonly topK?: number | undefined;
  /** Only the fewest of the likeliest tokens whose probabilities reach this sum; default 1, all. */
  readonly topP?: number | undefined;
  /** Only tokens that have at least this share of the likeliest one's probability; default 0, all. */
  readonly minP?: number | undefined;
  /** Logits of tokens that there were before, in the prompt too, are divided by it if positive, else multiplied; default 1. */
  readonly repetitionPenalty?: number | undefined;
  /** Subtracted from the logits of tokens that were generated, once; default 0. */
  readonly presencePenalty?: number | undefined;
  /** Subtracted for each time that they were; default 0. */
  readonly frequencyPenalty?: number | undefined;
  /** Added to the logits of these tokens; `-Infinity` bans one. */
  readonly bias?: Readonly<Record<number, number>> | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** How many of the likeliest tokens are told with their logarithmic probabilities, beside the one chosen; default: none. */
  readonly logProbabilities?: number | undefined;
  /** Changes the logits in place, before all else: called with them and with all tokens so far. */
  readonly process?: ((logits: Float32Array, tokens: readonly number[]) => void) | undefined;
}

export const SAMPLING = [
  ...[
    'temperature',
    'topK',
    'topP',
    'minP',
    'repetitionPenalty',
    'presencePenalty',
    'frequencyPenalty',
    'bias',
    'seed',
  ],
  ...['logProbabilities', 'process'],
];

export interface Choice {
  readonly token: number;
  /** The natural logarithm of the model's own probability of the token, if `logProbabilities` asks for it. */
  readonly logProbability?: number;
  /** Those of the likeliest tokens, in order. */
  readonly likeliest?: readonly { readonly token: number; readonly logProbability: number }[];
}

/** Smaller shares of the likeliest token's probability are taken for 0: all of them together are below 1e-12. */
const LOWEST = -40;

const LIMITS: Readonly<Record<string, readonly [least: number, most: number]>> = {
  temperature: [0, Number.MAX_VALUE],
  topP: [0, 1],
  minP: [0, 1],
  repetitionPenalty: [Number.MIN_VALUE, Number.MAX_VALUE],
  presencePenalty: [-Number.MAX_VALUE, Number.MAX_VALUE],
  frequencyPenalty: [-Number.MAX_VALUE, Number.MAX_VALUE],
};

/** @throws {ParameterError} an option that is unknown or out of range, by its name */
export function checkSampling(options: SamplingOptions, vocabulary: number): void {
  for (const [name, [least, most]] of Object.entries(LIMITS)) {
    const value = options[name as keyof SamplingOptions] as number | undefined;
    if (value !== undefined && !(typeof value === 'number' && value >= least && value <= most))
      throw new ParameterError(`${name} must be ${rangeText(least, most)}, got ${show(value)}`);
  }
  const { topK, seed, bias, logProbabilities, process } = options;
  if (topK !== undefined) checkWhole('topK', topK, 1, vocabulary);
  if (seed !== undefined) checkWhole('seed', seed, Number.MIN_SAFE_INTEGER);
  if (logProbabilities !== undefined) checkWhole('logProbabilities', logProbabilities, 0, vocabulary);
  if (process !== undefined && typeof process !== 'function')
    throw new ParameterError(`process must be a function, got ${show(process)}`);
  if (bias === undefined) return;
  checkRecord('bias', bias);
  for (const [token, value] of Object.entries(bias)) {
    checkWhole('a token of bias', Number(token), 0, vocabulary - 1);
    if (!(typeof value === 'number' && value < Infinity))
      throw new ParameterError(`bias of token ${token} must be a number below Infinity, got ${show(value)}`);
  }
}

function rangeText(least: number, most: number): string {
  if (most === 1) return `a number from ${least} to 1`;
  if (least === 0) return 'a finite number >= 0';
  return least > 0 ? 'a positive number' : 'a finite number';
}

/** Draws the tokens of one sequence, one after the other. */
export class Sampler {
  readonly #options: SamplingOptions;
  readonly #uniform: () => number;
  /** How often each token was generated; 0 for those that only the prompt has. */
  readonly #counts = new Map<number, number>();

  constructor(options: SamplingOptions, prompt: readonly number[]) {
    this.#options = options;
    this.#uniform = uniformGenerator(options.seed ?? 0);
    for (const token of prompt) this.#counts.set(token, 0);
  }

  /**
   * The next token; `logits` are overwritten. Undefined if they hold what is no number or infinity, or nothing that may be chosen.
   * `allowed` has a bit for each token that may.
   */
  choose(logits: Float32Array, tokens: readonly number[], allowed?: Int32Array): Choice | undefined {
    const { logProbabilities, process } = this.#options;
    process?.(logits, tokens);
    const most = largest(logits);
    if (most === undefined) return undefined;
    const plain = logProbabilities === undefined ? undefined : logits.slice();
    if (allowed) ban(logits, allowed);
    this.#penalize(logits);
    const token = this.#draw(logits);
    if (token === undefined) return undefined;
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
    return plain ? { token, ...told(plain, most, token, logProbabilities as number) } : { token };
  }

  #penalize(logits: Float32Array): void {
    const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, bias = {} } = this.#options;
    for (const [token, value] of Object.entries(bias))
      logits[Number(token)] = (logits[Number(token)] as number) + value;
    if (repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0) return;
    for (const [token, count] of this.#counts) {
      const logit = logits[token] as number;
      const repeated = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
      logits[token] = repeated - (count > 0 ? presencePenalty + count * frequencyPenalty : 0);
    }
  }

  #draw(logits: Float32Array): number | undefined {
    const { temperature = 0, topK, topP = 1, minP = 0 } = this.#options;
    const most = largest(logits);
    if (most === undefined) return undefined;
    if (temperature === 0) return logits.indexOf(most);
    let kept: Candidates = candidates(logits, most, temperature);
    if (topK !== undefined && topK < kept.tokens.length) kept = likeliest(kept, topK);
    if (topP < 1) kept = likeliest(kept, countOf(kept.weights, topP));
    if (minP > 0) kept = filtered(kept, (weight) => weight >= minP);
    const sum = kept.weights.reduce((a, b) => a + b, 0);
    let rest = this.#uniform() * sum;
    const at = kept.weights.findIndex((weight) => {
      rest -= weight;
      return rest < 0;
    });
    return kept.tokens.at(at);
  }
}

function ban(logits: Float32Array, allowed: Int32Array): void {
  for (let token = 0; token < logits.length; token++)
    if ((((allowed[token >> 5] as number) >>> (token & 31)) & 1) === 0) logits[token] = -Infinity;
}

/** Tokens in order, and their probabilities as shares of the likeliest one's. */
interface Candidates {
  readonly tokens: readonly number[];
  readonly weights: readonly number[];
}

function candidates(logits: Float32Array, most: number, temperature: number): Candidates {
  const [tokens, weights]: [number[], number[]] = [[], []];
  const lowest = most + LOWEST * temperature;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token] as number;
    if (logit < lowest) continue;
    tokens.push(token);
    weights.push(Math.exp((logit - most) / temperature));
  }
  return { tokens, weights };
}

/** The `count` likeliest, of equal ones the earlier. */
function likeliest(all: Candidates, count: number): Candidates {
  const least = descending(all.weights)[count - 1] as number;
  let equal = count - all.weights.reduce((above, weight) => above + Number(weight > least), 0);
  return filtered(all, (weight) => weight > least || (weight === least && equal-- > 0));
}

/** How many of the likeliest have at least this share of the sum. */
function countOf(weights: readonly number[], share: number): number {
  const wanted = share * weights.reduce((a, b) => a + b, 0);
  let sum = 0;
  const at = descending(weights).findIndex((weight) => {
    sum += weight;
    return sum >= wanted;
  });
  return at < 0 ? weights.length : at + 1;
}

/** Typed arrays sort ten times as fast as arrays. */
const descending = (weights: readonly number[]) => Float64Array.from(weights).sort().reverse();

function filtered({ tokens, weights }: Candidates, isKept: (weight: number) => boolean): Candidates {
  const kept = weights.map(isKept);
  return { tokens: tokens.filter((_, at) => kept[at]), weights: weights.filter((_, at) => kept[at]) };
}

/** The largest logit; undefined if one is no number or infinite, or all are -Infinity. */
function largest(logits: Float32Array): number | undefined {
  let most = -Infinity;
  for (let at = 0; at < logits.length; at++) {
    const logit = logits[at] as number;
    if (!(logit < Infinity)) return undefined;
    if (logit > most) most = logit;
  }
  return most === -Infinity ? undefined : most;
}

function told(logits: Float32Array, most: number, token: number, count: number): Omit<Choice, 'token'> {
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  const logProbability = (token: number) => (logits[token] as number) - most - Math.log(sum);
  const sorted = Array.from(logits.keys()).sort((a, b) => (logits[b] as number) - (logits[a] as number));
  return {
    logProbability: logProbability(token),
    likeliest: sorted.slice(0, count).map((each) => ({ token: each, logProbability: logProbability(each) })),
  };
}
