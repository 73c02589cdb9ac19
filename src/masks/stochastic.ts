/**
 * Stochastic attention: a window over tokens in a random order, so that few layers reach everything.
 * Source: Jin and Sui 2026, arXiv 2604.00754.
 */
import { checkBoolean, checkParams, int32Of, show } from '../check';
import { ParameterError } from '../errors';
import { uniformGenerator } from '../tensor/random';
import { queriesFrom } from './area';
import { checkTokenCount, checkTokens, checkWhole } from './check';
import type { Intervals } from './intervals';
import { joinIntervals, runsOf } from './intervals';
import { KeyWords, wordsOf } from './key-words';
import type { Arrangement, Mask } from './mask';

/** A window over tokens in another order. */
export interface StochasticParams {
  /** The token in each slot: every token once; a plain or typed array. */
  readonly permutation: ArrayLike<number>;
  readonly window: number;
  /** Default: false. */
  readonly causal?: boolean | undefined;
  /** Causally: `window` slots, as without `causal`, in place of `window` keys on average. Default: false. */
  readonly strict?: boolean | undefined;
  /** Whether slots end at the first and the last one, instead of forming a circle. Default: if causal and not strict. */
  readonly clamped?: boolean | undefined;
}

/**
 * A token sees those in the `window` slots around its own, floor(window / 2) of them before it; slots are a circle.
 * If causal, it sees those at most window - 1 slots away, without going round, that are no later tokens: `window` keys
 * on average, and with tokens in their own order the causal window.
 */
export function stochastic(params: StochasticParams): Mask {
  checkParams('stochastic', params, ['permutation', 'window', 'causal', 'strict', 'clamped']);
  const { permutation, window, causal = false, strict = false, clamped = causal && !strict } = params;
  checkWhole('window', window, 1);
  for (const [name, value] of Object.entries({ causal, strict, clamped })) checkBoolean(name, value);
  if (strict && !causal) throw new ParameterError('strict needs causal: true');
  const tokenAt = int32Of('permutation', permutation).slice();
  checkPermutation(tokenAt);
  const tokens = tokenAt.length;
  const slotOf = new Int32Array(tokens);
  tokenAt.forEach((token, slot) => {
    slotOf[token] = slot;
  });
  const kind = [
    strict ? 'strict ' : '',
    causal ? 'causal ' : '',
    clamped !== (causal && !strict) ? ENDS[+clamped] : '',
  ];
  const name = `${kind.join('')}stochastic window ${window} of ${tokens} tokens`;

  const isWide = causal && !strict;
  const before = isWide ? window - 1 : Math.floor(window / 2);
  const after = window - 1 - (isWide ? 0 : before);
  /** The slots seen from `slot`; on a circle they may start below 0. */
  const slotsSeen = (slot: number): [first: number, past: number] => {
    if (clamped) return [Math.max(0, slot - before), Math.min(tokens, slot + after + 1)];
    return before + after + 1 >= tokens ? [0, tokens] : [slot - before, slot + after + 1];
  };
  const sees = (i: number, j: number) => {
    const [first, past] = slotsSeen(slotOf[i] as number);
    return ((slotOf[j] as number) - first + tokens) % tokens < past - first && (!causal || j <= i);
  };

  const slotIntervals = (slot: number): Intervals => {
    const [first, past] = slotsSeen(slot);
    if (first < 0) return joinIntervals([0, past], [first + tokens, tokens], (a, b) => a || b);
    if (past > tokens) return joinIntervals([0, past - tokens], [first, tokens], (a, b) => a || b);
    return [first, past];
  };

  const arrangement: Arrangement = {
    queries: tokenAt,
    keys: tokenAt,
    words(first, count) {
      const windows = wordsOf(queriesFrom(first, Math.min(count, tokens - first)).map(slotIntervals));
      return causal ? notLater(windows, tokenAt, first, count) : windows;
    },
  };

  return {
    name,
    sees,
    intervals(i) {
      const [first, past] = slotsSeen(slotOf[i] as number);
      const keys = new Int32Array(past - first);
      keys.set(tokenAt.subarray(Math.max(0, first), Math.min(past, tokens)));
      // A circle's slots go on at its other end.
      if (first < 0) keys.set(tokenAt.subarray(first + tokens), past);
      if (past > tokens) keys.set(tokenAt.subarray(0, past - tokens), tokens - first);
      return runsAmong(causal ? keys.filter((key) => key <= i) : keys, tokens);
    },
    arrange: () => arrangement,
    check: (extent) => checkTokens(name, tokens, extent),
  };
}

const ENDS = ['circular ', 'clamped '];

/** The runs of different keys below `tokens`, in any order. Where they are many, marking them is several times as fast as sorting. */
function runsAmong(keys: Int32Array, tokens: number): Intervals {
  if (16 * keys.length < tokens) return runsOf(keys.sort());
  const marks = new Uint8Array(tokens + 1);
  for (let at = 0; at < keys.length; at++) marks[keys[at] as number] = 1;
  const runs: number[] = [];
  for (let key = 0; key <= tokens; key++) if (marks[key] !== runs.length % 2) runs.push(key);
  return runs;
}

/** A random order of `n` tokens (Fisher-Yates). */
export function randomPermutation(n: number, seed: number): Int32Array {
  checkTokenCount('length of a permutation', n);
  const next = uniformGenerator(seed);
  const permutation = Int32Array.from({ length: n }, (_, at) => at);
  for (let last = n - 1; last > 0; last--) {
    const other = Math.floor(next() * (last + 1));
    const token = permutation[last] as number;
    permutation[last] = permutation[other] as number;
    permutation[other] = token;
  }
  return permutation;
}

function checkPermutation(permutation: Int32Array): void {
  const n = permutation.length;
  if (n === 0) throw new ParameterError('permutation must have at least one token, got none');
  const seenAt = new Int32Array(n).fill(-1);
  permutation.forEach((token, slot) => {
    if (token < 0 || token >= n) {
      throw new ParameterError(`permutation must hold each of 0 to ${n - 1} once, got ${show(token)} at ${slot}`);
    }
    if (seenAt[token] !== -1) {
      throw new ParameterError(
        `permutation must hold each of 0 to ${n - 1} once, got ${show(token)} at ${seenAt[token]} and again at ${slot}`,
      );
    }
    seenAt[token] = slot;
  });
}

/** The pairs of `words` over slots whose key is not after the query. */
function notLater(words: KeyWords, tokenAt: Int32Array, first: number, count: number): KeyWords {
  const tokens = Array.from(tokenAt.subarray(first, first + count));
  const order = tokens.map((_, r) => r).sort((a, b) => (tokens[a] as number) - (tokens[b] as number));
  const ascending = order.map((r) => tokens[r] as number);
  // After k of the ascending queries, those that are left.
  const left = new Int32Array(order.length + 1);
  for (let k = order.length - 1; k >= 0; k--) left[k] = (left[k + 1] as number) | (1 << (order[k] as number));
  const result = new KeyWords();
  for (let at = 0; at + 1 < words.starts.length; at++) {
    const past = words.starts[at + 1] as number;
    for (let slot = words.starts[at] as number; slot < past; slot++) {
      const earlier = countBelow(ascending, tokenAt[slot] as number);
      result.push(slot, (words.words[at] as number) & (left[earlier] as number));
    }
    result.push(past, 0);
  }
  return result;
}

/** How many of the ascending numbers are less than `bound`. */
function countBelow(ascending: readonly number[], bound: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] as number) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
