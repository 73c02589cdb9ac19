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
import { joinIntervals, pushRun, runsOf } from './intervals';
import { wordsOf } from './key-words';
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

  const order = causal ? sortedBlocks(tokenAt) : tokenAt;
  const arrangement: Arrangement = {
    queries: order,
    keys: order,
    words(first, count) {
      const places = queriesFrom(first, Math.min(count, tokens - first));
      if (!causal) return wordsOf(places.map(slotIntervals));
      return wordsOf(
        places.map((place) => {
          const token = order[place] as number;
          return notLater(token, slotIntervals(slotOf[token] as number), order, slotOf);
        }),
      );
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

/**
 * Slots whose tokens kernels take in ascending order, if causal: a few queries then see about the same first part of each block
 * that lies within their windows. The number has the fewest tiles partial for windows of 256.
 */
const BLOCK = 96;

/** The tokens of each block of slots in ascending order. */
function sortedBlocks(tokenAt: Int32Array): Int32Array {
  const order = tokenAt.slice();
  for (let first = 0; first < order.length; first += BLOCK) order.subarray(first, first + BLOCK).sort();
  return order;
}

/** The places in sorted blocks of the keys in some slots that are not after a token. */
function notLater(token: number, slots: Intervals, order: Int32Array, slotOf: Int32Array): Intervals {
  const runs: number[] = [];
  let next = 0;
  for (let at = 0; at < slots.length; at += 2) {
    const [first, past] = [slots[at] as number, slots[at + 1] as number];
    for (let block = Math.max(next, first - (first % BLOCK)); block < past; block += BLOCK) {
      next = block + BLOCK;
      const end = Math.min(next, order.length);
      const isWhole = first <= block && end <= past;
      for (let place = block; place < end && (order[place] as number) <= token; place++)
        if (isWhole || isAmong(slotOf[order[place] as number] as number, slots)) pushRun(runs, place, place + 1);
    }
  }
  return runs;
}

/** Whether a slot is in one of the runs, which are one or two. */
const isAmong = (slot: number, slots: Intervals): boolean =>
  ((slots[0] as number) <= slot && slot < (slots[1] as number)) ||
  (slots.length > 2 && (slots[2] as number) <= slot && slot < (slots[3] as number));
