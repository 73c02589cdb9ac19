/** The toy sequence on which pages of methods open: tokens drift, and return to a few topics. */
import { normal } from '../tensor/random';
import type { Extents } from './page';

/** The topic of each stretch of tokens, over and over. */
const TOPICS = [0, 1, 2, 0, 3, 1, 4, 2, 0, 3];
const STRETCH = 6.5;
/** Tokens and heads that are drawn; further ones repeat them. */
const MOST_TOKENS = 2048;
const MOST_HEADS = 8;
/** How much of the drift is kept from token to token, and added to the topic. */
const KEPT = 0.86;
const DRIFT = 0.75;

export interface ToyOptions {
  /** Factor on queries and keys. Default: 1. */
  readonly size?: number;
  /** What queries and keys become, row by row, before the factor. */
  features?(row: Float32Array): Float32Array;
}

export const topicOf = (token: number) => TOPICS[Math.floor(token / STRETCH) % TOPICS.length] as number;

/** Rows of `d` numbers: each the topic of its token and what has drifted from it. */
export function toyRows(tokens: number, d: number, seed: number): Float32Array[] {
  const topics = normal(5 * d, 7);
  const steps = normal(tokens * d, seed);
  const drift = normal(d, seed + 1);
  return Array.from({ length: tokens }, (_, token) =>
    Float32Array.from({ length: d }, (_, c) => {
      drift[c] = KEPT * (drift[c] as number) + 0.5 * (steps[token * d + c] as number);
      return (topics[topicOf(token) * d + c] as number) + DRIFT * (drift[c] as number);
    }),
  );
}

/** q, k and v of the sequence, row-major as [b n h d] with b = 1; of a grid in the order of its rows. */
export function toyQkv(extents: Extents, { size = 1, features = (row) => row }: ToyOptions = {}) {
  const { h = 1, d = 1, rows = 1, columns = 1, n = rows * columns } = extents;
  const of = (seed: number, shaped: (row: Float32Array) => Float32Array) => {
    const heads = Array.from({ length: Math.min(h, MOST_HEADS) }, (_, head) =>
      toyRows(Math.min(n, MOST_TOKENS), d, seed + 10 * head).map(shaped),
    );
    const values = new Float32Array(n * h * d);
    for (let at = 0; at < n * h; at++) {
      const rows = heads[(at % h) % MOST_HEADS] as Float32Array[];
      values.set(rows[Math.floor(at / h) % MOST_TOKENS] as Float32Array, at * d);
    }
    return values;
  };
  const scaled = (row: Float32Array) => features(row).map((value) => size * value);
  return { q: of(11, scaled), k: of(13, scaled), v: of(17, (row) => row) };
}

/** Rows of length 1. */
export const unitRow = (row: Float32Array) => row.map((value) => value / (Math.hypot(...row) || 1));
