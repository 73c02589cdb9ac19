/** Masks in words: which of a few queries see a key, as long stretches of equal words. */

import type { Fixed } from '../expressions/evaluate';
import type { Expression } from '../expressions/expression';
import { anyScore, Decider, integers } from '../expressions/ranges';
import { Tile } from '../expressions/tile';
import { KeyWords } from './key-words';
import type { Place } from './mask';

/** Queries that a word holds. */
const ROWS = 32;
/** Keys whose pairs are computed together if ranges do not decide. */
const LEAF = 64;
/** Queries of bands, each a multiple of the next and of tiles, and the least keys that a band is cut into. */
const BANDS = [98304, 12288, 1536, 192].map((queries) => ({ queries, keys: Math.floor(queries / 3) }));

/** Keys from `first` to before `past`, which all, none or some of some queries see. */
interface Stretch {
  readonly first: number;
  readonly past: number;
  readonly seen: boolean | undefined;
}

/** What is known about the keys of the queries from `first` on. */
interface Band {
  readonly first: number;
  readonly stretches: readonly Stretch[];
}

/**
 * The keys that a few queries see, from a boolean expression.
 *
 * Ranges over boxes of queries and keys tell which keys all or none of the queries see, whatever their number; only boxes
 * for which they are not enough are halved. Neighbouring tiles of queries share what is known about their bands.
 */
export class ExpressionWords {
  readonly #tile: Tile;
  #fixed: Fixed = { b: -1, h: -1, n: -1, m: -1 };
  /** The last band of each size. */
  #bands: (Band | undefined)[] = [];

  constructor(private readonly expression: Expression) {
    this.#tile = new Tile(expression, ROWS, LEAF);
  }

  /** The words of up to 32 queries; the last word is 0. */
  of(queries: ArrayLike<number>, { batch: b, head: h, n, m }: Place): KeyWords {
    const result = new KeyWords();
    if (queries.length === 0 || m === 0) return result;
    const { b: lastB, h: lastH, n: lastN, m: lastM } = this.#fixed;
    if (b !== lastB || h !== lastH || n !== lastN || m !== lastM) this.#bands = [];
    this.#fixed = { b, h, n, m };
    this.#tile.take(queries, this.#fixed);
    const all = queries.length === ROWS ? -1 : (1 << queries.length) - 1;
    const [least, most] = [Math.min(...Array.from(queries)), Math.max(...Array.from(queries))];
    for (const { first, past, seen } of this.#cut(this.#known(least, most), least, most, LEAF)) {
      if (seen !== undefined) result.push(first, seen ? all : 0);
      else {
        const words = this.#tile.words(first, past - first);
        for (let key = first; key < past; key++) result.push(key, words[key - first] as number);
      }
    }
    result.push(m, 0);
    return result;
  }

  /** What is known about the smallest band with these queries. */
  #known(least: number, most: number): readonly Stretch[] {
    let stretches: readonly Stretch[] = [{ first: 0, past: this.#fixed.m, seen: undefined }];
    for (const [level, { queries, keys }] of BANDS.entries()) {
      const first = least - (least % queries);
      if (most >= first + queries) break;
      if (queries >= 2 * this.#fixed.n) continue;
      let band = this.#bands[level];
      if (band?.first !== first) {
        band = { first, stretches: this.#cut(stretches, first, first + queries - 1, keys) };
        this.#bands[level] = band;
      }
      stretches = band.stretches;
    }
    return stretches;
  }

  /** Halves the stretches that ranges leave undecided for these queries, down to `size` keys. */
  #cut(stretches: readonly Stretch[], least: number, most: number, size: number): Stretch[] {
    const { b, h, n, m } = this.#fixed;
    const decider = new Decider(this.expression, {
      score: anyScore,
      b: integers(b, b),
      h: integers(h, h),
      n: integers(n, n),
      m: integers(m, m),
      q: integers(least, most),
      k: integers(0, m - 1),
    });
    const result: Stretch[] = [];
    const visit = (first: number, past: number) => {
      const seen = decider.decide(first, past);
      if (seen !== undefined || past - first <= size) {
        result.push({ first, past, seen });
        return;
      }
      // Whole leaves, so that the ranges of tables are read by whole stretches.
      const middle = first + Math.ceil((past - first) / 2 / LEAF) * LEAF;
      visit(first, middle);
      visit(middle, past);
    };
    for (const stretch of stretches) {
      if (stretch.seen !== undefined) result.push(stretch);
      else visit(stretch.first, stretch.past);
    }
    return result;
  }
}
