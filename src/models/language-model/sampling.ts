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
  #room: Candidates | undefined;

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
    let kept = this.#candidates(logits, most, temperature);
    if (topK !== undefined && topK < kept.tokens.length) kept = likeliest(kept, { count: topK });
    if (topP < 1) kept = likeliest(kept, { share: topP });
    if (minP > 0) kept = filtered(kept, (exponent) => Math.exp(exponent) >= minP);
    const weights = kept.exponents.map(Math.exp);
    let rest = this.#uniform() * weights.reduce((a, b) => a + b, 0);
    const at = weights.findIndex((weight) => {
      rest -= weight;
      return rest < 0;
    });
    return kept.tokens.at(at);
  }

  /** Tokens that may be drawn; the arrays are those of the calls before. */
  #candidates(logits: Float32Array, most: number, temperature: number): Candidates {
    const { length } = logits;
    this.#room ??= { tokens: new Int32Array(length), exponents: new Float64Array(length) };
    const { tokens, exponents } = this.#room;
    let count = 0;
    for (let token = 0; token < length; token++) {
      const exponent = ((logits[token] as number) - most) / temperature;
      if (exponent < LOWEST) continue;
      tokens[count] = token;
      exponents[count++] = exponent;
    }
    return first(this.#room, count);
  }
}

function ban(logits: Float32Array, allowed: Int32Array): void {
  for (let token = 0; token < logits.length; token++)
    if ((((allowed[token >> 5] as number) >>> (token & 31)) & 1) === 0) logits[token] = -Infinity;
}

/** Tokens in order, and the logarithms of their probabilities as shares of the likeliest one's. */
interface Candidates {
  readonly tokens: Int32Array;
  readonly exponents: Float64Array;
}

const first = ({ tokens, exponents }: Candidates, count: number): Candidates => ({
  tokens: tokens.subarray(0, count),
  exponents: exponents.subarray(0, count),
});

/** Exponents are sorted into so many buckets of each unit, as sorting all of a large vocabulary takes longer than a step. */
const BUCKETS = 64;
const bucketOf = (exponent: number) => Math.floor(-exponent * BUCKETS);

/** So many of the likeliest, or the fewest that have this share of the sum; of equal ones the earlier. */
function likeliest(
  all: Candidates,
  { count: wanted = Infinity, share }: { readonly count?: number; readonly share?: number },
): Candidates {
  const { exponents } = all;
  const counts = new Float64Array(1 - LOWEST * BUCKETS);
  const sums = new Float64Array(counts.length);
  for (let at = 0; at < exponents.length; at++) {
    const exponent = exponents[at] as number;
    const bucket = bucketOf(exponent);
    counts[bucket]! += 1;
    if (share !== undefined) sums[bucket]! += Math.exp(exponent);
  }
  const most = share === undefined ? Infinity : share * sums.reduce((a, b) => a + b, 0);
  const isEnough = (count: number, sum: number) => count >= wanted || sum >= most;
  let [count, sum, bucket] = [0, 0, 0];
  while (bucket < counts.length && !isEnough(count + counts[bucket]!, sum + sums[bucket]!)) {
    count += counts[bucket]!;
    sum += sums[bucket++]!;
  }
  // Rounding may leave the sum of all below what is wanted of it.
  if (bucket === counts.length) return all;
  const last = exponents
    .filter((exponent) => bucketOf(exponent) === bucket)
    .sort()
    .reverse();
  let kept = 0;
  do sum += Math.exp(last[kept++] as number);
  while (kept < last.length && !isEnough(count + kept, sum));
  const least = last[kept - 1] as number;
  let equal = kept - last.indexOf(least);
  return filtered(all, (exponent) => exponent > least || (exponent === least && equal-- > 0));
}

/** In the place of all. */
function filtered(all: Candidates, isKept: (exponent: number) => boolean): Candidates {
  const { tokens, exponents } = all;
  let count = 0;
  for (let at = 0; at < tokens.length; at++) {
    const exponent = exponents[at] as number;
    if (!isKept(exponent)) continue;
    tokens[count] = tokens[at] as number;
    exponents[count++] = exponent;
  }
  return first(all, count);
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
  const least = count > 0 ? (logits.slice().sort().at(-count) as number) : Infinity;
  const sorted = Array.from(logits.keys())
    .filter((token) => (logits[token] as number) >= least)
    .sort((a, b) => (logits[b] as number) - (logits[a] as number));
  return {
    logProbability: logProbability(token),
    likeliest: sorted.slice(0, count).map((each) => ({ token: each, logProbability: logProbability(each) })),
  };
}
