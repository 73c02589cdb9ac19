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

/** Which topic a token is of, from 0 to 4. */
export const topicOf = (token: number) => TOPICS[Math.floor(token / STRETCH) % TOPICS.length] as number;

/** Rows of `d` numbers: each the topic of its token and what has drifted from it. */
function toyRows(tokens: number, d: number, seed: number): Float32Array[] {
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

/** The ink of blank paper. */
const PAPER = 0.2;

/** One bright point in the middle of the first channel, and others that are blank paper, [b, c, rows, columns]. */
export function pointOnPaper({ b = 1, c = 1, rows = 1, columns = 1 }: Extents): Float32Array {
  const places = rows * columns;
  const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  return Float32Array.from({ length: b * c * places }, (_, at) => {
    const isFirst = Math.floor(at / places) % c === 0;
    return isFirst ? Number(at % places === middle) : PAPER;
  });
}

/** A square matrix that takes all channels from the first, which itself, brighter than paper, is taken as faintly. */
export const fromFirst = ({ c = 1 }: Extents): Float32Array =>
  Float32Array.from({ length: c * c }, (_, at) => (at === 0 ? PAPER : Number(at % c === 0)));

/** Points round a circle, [count, 2]. */
export const circle = (count: number): Float32Array =>
  Float32Array.from({ length: 2 * count }, (_, at) => {
    const angle = (Math.floor(at / 2) / count) * 2 * Math.PI;
    return at % 2 === 0 ? Math.cos(angle) : Math.sin(angle);
  });

/** Centres and radii of soft discs on a ground, as shares of a picture's sides. */
const DISCS = [
  [0.3, 0.34, 0.22],
  [0.7, 0.28, 0.15],
  [0.62, 0.72, 0.24],
  [0.15, 0.82, 0.16],
] as const;

/** A picture of soft discs, [..., rows, columns]: each channel has one of them brightest. */
export function toyPicture(shape: readonly number[]): Float32Array {
  const [rows, columns] = shape.slice(-2) as [number, number];
  const channels = shape.slice(0, -2).reduce((size, extent) => size * extent, 1);
  return Float32Array.from({ length: channels * rows * columns }, (_, at) => {
    const [channel, place] = [Math.floor(at / (rows * columns)), at % (rows * columns)];
    const [y, x] = [(Math.floor(place / columns) + 0.5) / rows, ((place % columns) + 0.5) / columns];
    return DISCS.reduce((sum, [cx, cy, r], disc) => {
      const inside = Math.exp(-1.6 * (((x - cx) ** 2 + (y - cy) ** 2) / r ** 2));
      return sum + (disc === channel % DISCS.length ? 2 : 0.6) * inside;
    }, -0.2);
  });
}
