/**
 * The micro-kernel: c[6][8] from a[depth][6] and b[depth][8], twelve accumulators in registers.
 * Six by two vectors, two loads and a splat fill fifteen of the sixteen registers; wider shapes spill.
 */
import { PANEL } from '../../cpu/params.generated.as';
import { exp2, exp2Clamped, larger, madd, seenLanes } from './vector.as';

/** What is done with the products. */
export const STORE: i32 = 0;
/** c += products */
export const ADD: i32 = 1;
/** c = products; aux[8] = max(aux, each column) */
export const STORE_MAX: i32 = 2;
/** c = 2^products; aux[8] += each column */
export const STORE_EXP: i32 = 3;
/** c = 2^(products - aux[8]) */
export const STORE_EXP_LESS: i32 = 4;
/** c = factors * (products - aux[8]); the factors are laid out as c is, and are c by default */
export const TIMES_LESS: i32 = 5;
/** c = products * aux[6][8], whose rows each begin one number before the previous one: a part of a Toeplitz matrix */
export const STORE_TIMES: i32 = 6;
/** c = aux[6] * c + products, a factor for each row */
export const DECAY_ADD: i32 = 7;
/** c += aux[6] * products, a factor for each row */
export const ADD_TIMES: i32 = 8;
/** c = products * factors; aux[8] += each column */
export const STORE_WEIGHTED: i32 = 9;
/** c = factors * (aux[8] - products) */
export const STORE_TILTED: i32 = 10;
/** With x = products - aux[8], and aux a row of three, [3][48]: c = aux[1] * c + aux[2] * x * factors, factors = -c * x */
export const TILT_GRADIENTS: i32 = 11;

/** Bytes between the six numbers of a row of a that is stored `across`: one for each of 48 queries. */
export const ACROSS: usize = 192;

/** Some of the rows to be multiplied, in panels of six: `count` from panel `offset` of a and panel `first` of b. */
@unmanaged
export class Stretch {
  offset: i32;
  first: i32;
  count: i32;
}
export const STRETCH_BYTES: usize = 12;

/** Stands for unseen scores where maxima are taken: below every score. */
export const UNSEEN: f32 = -3e38;

/**
 * Rows of a are `aStep` bytes apart, their six numbers side by side or `across`; rows of b are `bStep` apart, rows of c
 * `cStep`. `across` and `finish` are constants.
 *
 * With `stretches` the rows are those from there up to `pastStretches`, at least one, instead of `depth` rows, and panels
 * of b are `bPanel` apart. With `seen`, six words, one for each row, say by their bits from `bit` on which products STORE_EXP
 * and STORE_MAX leave out. `factors` is a second [6][8] that some finishes take, laid out as c is.
 *
 * The code is written out: with functions for the finishes the optimizer inlines differently, and some kernels get slower.
 */
@inline
export function product(
  a: usize,
  aStep: usize,
  across: bool,
  b: usize,
  depth: i32,
  c: usize,
  cStep: usize,
  finish: i32,
  aux: usize,
  bStep: usize = 32,
  stretches: usize = 0,
  pastStretches: usize = 0,
  bPanel: usize = 0,
  seen: usize = 0,
  bit: i32 = 0,
  factors: usize = c,
): void {
  const firstA = a;
  const firstB = b;
  let x0 = f32x4.splat(0);
  let y0 = x0;
  let x1 = x0;
  let y1 = x0;
  let x2 = x0;
  let y2 = x0;
  let x3 = x0;
  let y3 = x0;
  let x4 = x0;
  let y4 = x0;
  let x5 = x0;
  let y5 = x0;
  let end = b + <usize>depth * bStep;
  for (;;) {
    if (stretches) {
      const stretch = changetype<Stretch>(stretches);
      a = firstA + <usize>(stretch.offset * PANEL) * aStep;
      b = firstB + <usize>stretch.first * bPanel;
      end = b + <usize>stretch.count * bPanel;
    }
    while (b != end) {
      for (const past = stretches ? b + <usize>PANEL * bStep : end; b != past; b += bStep, a += aStep) {
        const left = v128.load(b);
        const right = v128.load(b, 16);
        let s = v128.load32_splat(a);
        x0 = madd(s, left, x0);
        y0 = madd(s, right, y0);
        s = across ? v128.load32_splat(a, ACROSS) : v128.load32_splat(a, 4);
        x1 = madd(s, left, x1);
        y1 = madd(s, right, y1);
        s = across ? v128.load32_splat(a, 2 * ACROSS) : v128.load32_splat(a, 8);
        x2 = madd(s, left, x2);
        y2 = madd(s, right, y2);
        s = across ? v128.load32_splat(a, 3 * ACROSS) : v128.load32_splat(a, 12);
        x3 = madd(s, left, x3);
        y3 = madd(s, right, y3);
        s = across ? v128.load32_splat(a, 4 * ACROSS) : v128.load32_splat(a, 16);
        x4 = madd(s, left, x4);
        y4 = madd(s, right, y4);
        s = across ? v128.load32_splat(a, 5 * ACROSS) : v128.load32_splat(a, 20);
        x5 = madd(s, left, x5);
        y5 = madd(s, right, y5);
      }
      if (stretches) b += bPanel - <usize>PANEL * bStep;
    }
    if (!stretches) break;
    stretches += STRETCH_BYTES;
    if (stretches == pastStretches) break;
  }
  if (finish == STORE_WEIGHTED) {
    x0 = f32x4.mul(x0, v128.load(factors));
    y0 = f32x4.mul(y0, v128.load(factors, 16));
    x1 = f32x4.mul(x1, v128.load(factors + cStep));
    y1 = f32x4.mul(y1, v128.load(factors + cStep, 16));
    x2 = f32x4.mul(x2, v128.load(factors + 2 * cStep));
    y2 = f32x4.mul(y2, v128.load(factors + 2 * cStep, 16));
    x3 = f32x4.mul(x3, v128.load(factors + 3 * cStep));
    y3 = f32x4.mul(y3, v128.load(factors + 3 * cStep, 16));
    x4 = f32x4.mul(x4, v128.load(factors + 4 * cStep));
    y4 = f32x4.mul(y4, v128.load(factors + 4 * cStep, 16));
    x5 = f32x4.mul(x5, v128.load(factors + 5 * cStep));
    y5 = f32x4.mul(y5, v128.load(factors + 5 * cStep, 16));
  }
  if (finish == STORE_EXP) {
    x0 = exp2(x0);
    y0 = exp2(y0);
    x1 = exp2(x1);
    y1 = exp2(y1);
    x2 = exp2(x2);
    y2 = exp2(y2);
    x3 = exp2(x3);
    y3 = exp2(y3);
    x4 = exp2(x4);
    y4 = exp2(y4);
    x5 = exp2(x5);
    y5 = exp2(y5);
    if (seen) {
      x0 = v128.and(x0, isSeen(seen, 0, bit));
      y0 = v128.and(y0, isSeen(seen, 0, bit + 4));
      x1 = v128.and(x1, isSeen(seen, 1, bit));
      y1 = v128.and(y1, isSeen(seen, 1, bit + 4));
      x2 = v128.and(x2, isSeen(seen, 2, bit));
      y2 = v128.and(y2, isSeen(seen, 2, bit + 4));
      x3 = v128.and(x3, isSeen(seen, 3, bit));
      y3 = v128.and(y3, isSeen(seen, 3, bit + 4));
      x4 = v128.and(x4, isSeen(seen, 4, bit));
      y4 = v128.and(y4, isSeen(seen, 4, bit + 4));
      x5 = v128.and(x5, isSeen(seen, 5, bit));
      y5 = v128.and(y5, isSeen(seen, 5, bit + 4));
    }
  }
  if (finish == STORE_EXP || finish == STORE_WEIGHTED) {
    const left = f32x4.add(f32x4.add(f32x4.add(x0, x1), f32x4.add(x2, x3)), f32x4.add(x4, x5));
    const right = f32x4.add(f32x4.add(f32x4.add(y0, y1), f32x4.add(y2, y3)), f32x4.add(y4, y5));
    v128.store(aux, f32x4.add(v128.load(aux), left));
    v128.store(aux, f32x4.add(v128.load(aux, 16), right), 16);
  }
  if (finish == STORE_MAX) {
    if (seen) {
      const unseen = f32x4.splat(UNSEEN);
      x0 = v128.bitselect(x0, unseen, isSeen(seen, 0, bit));
      y0 = v128.bitselect(y0, unseen, isSeen(seen, 0, bit + 4));
      x1 = v128.bitselect(x1, unseen, isSeen(seen, 1, bit));
      y1 = v128.bitselect(y1, unseen, isSeen(seen, 1, bit + 4));
      x2 = v128.bitselect(x2, unseen, isSeen(seen, 2, bit));
      y2 = v128.bitselect(y2, unseen, isSeen(seen, 2, bit + 4));
      x3 = v128.bitselect(x3, unseen, isSeen(seen, 3, bit));
      y3 = v128.bitselect(y3, unseen, isSeen(seen, 3, bit + 4));
      x4 = v128.bitselect(x4, unseen, isSeen(seen, 4, bit));
      y4 = v128.bitselect(y4, unseen, isSeen(seen, 4, bit + 4));
      x5 = v128.bitselect(x5, unseen, isSeen(seen, 5, bit));
      y5 = v128.bitselect(y5, unseen, isSeen(seen, 5, bit + 4));
    }
    const left = larger(larger(larger(x0, x1), larger(x2, x3)), larger(x4, x5));
    const right = larger(larger(larger(y0, y1), larger(y2, y3)), larger(y4, y5));
    v128.store(aux, larger(v128.load(aux), left));
    v128.store(aux, larger(v128.load(aux, 16), right), 16);
  }
  if (finish == STORE_EXP_LESS || finish == TIMES_LESS || finish == TILT_GRADIENTS || finish == STORE_TILTED) {
    const left = v128.load(aux);
    const right = v128.load(aux, 16);
    x0 = f32x4.sub(x0, left);
    y0 = f32x4.sub(y0, right);
    x1 = f32x4.sub(x1, left);
    y1 = f32x4.sub(y1, right);
    x2 = f32x4.sub(x2, left);
    y2 = f32x4.sub(y2, right);
    x3 = f32x4.sub(x3, left);
    y3 = f32x4.sub(y3, right);
    x4 = f32x4.sub(x4, left);
    y4 = f32x4.sub(y4, right);
    x5 = f32x4.sub(x5, left);
    y5 = f32x4.sub(y5, right);
  }
  const auxStep: usize = finish == STORE_TIMES ? <usize>-4 : finish == TILT_GRADIENTS ? 0 : 4;
  finishRow(c, x0, y0, finish, aux, factors);
  finishRow(c + cStep, x1, y1, finish, aux + auxStep, factors + cStep);
  finishRow(c + 2 * cStep, x2, y2, finish, aux + 2 * auxStep, factors + 2 * cStep);
  finishRow(c + 3 * cStep, x3, y3, finish, aux + 3 * auxStep, factors + 3 * cStep);
  finishRow(c + 4 * cStep, x4, y4, finish, aux + 4 * auxStep, factors + 4 * cStep);
  finishRow(c + 5 * cStep, x5, y5, finish, aux + 5 * auxStep, factors + 5 * cStep);
}

/** Scores [6 keys][8 queries] in rows of a tile, by STORE_EXP or STORE_MAX, of the pairs that are seen. */
@inline
export function seenProduct(
  keys: usize,
  queries: usize,
  depth: i32,
  scores: usize,
  finish: i32,
  aux: usize,
  seen: usize,
  bit: i32,
): void {
  product(keys, 24, false, queries, depth, scores, 96, finish, aux, 32, 0, 0, 0, seen, bit);
}

/** Scores [6 keys][8 queries] of a second query times the weights of the first, in rows of a tile; sums += their columns. */
@inline
export function tiltedProduct(keys: usize, queries: usize, depth: i32, to: usize, sums: usize, weights: usize): void {
  product(keys, 24, false, queries, depth, to, 96, STORE_WEIGHTED, sums, 32, 0, 0, 0, 0, 0, weights);
}

/** Sums [6 queries][8 columns] += weights in rows of a tile, times values, over some stretches of keys. */
@inline
export function addStretches(
  weights: usize,
  values: usize,
  panelBytes: usize,
  stretches: usize,
  pastStretches: usize,
  sums: usize,
): void {
  product(weights, 96, false, values, 0, sums, 32, ADD, 0, 32, stretches, pastStretches, panelBytes);
}

@inline
function isSeen(words: usize, row: usize, bit: i32): v128 {
  return seenLanes(i32.load(words + (row << 2)) >> bit);
}

@inline
function finishRow(c: usize, x: v128, y: v128, finish: i32, aux: usize, factors: usize): void {
  if (finish == ADD) {
    x = f32x4.add(v128.load(c), x);
    y = f32x4.add(v128.load(c, 16), y);
  }
  if (finish == STORE_EXP_LESS) {
    x = exp2Clamped(x);
    y = exp2Clamped(y);
  }
  if (finish == TIMES_LESS) {
    x = f32x4.mul(v128.load(factors), x);
    y = f32x4.mul(v128.load(factors, 16), y);
  }
  if (finish == STORE_TIMES) {
    x = f32x4.mul(x, v128.load(aux));
    y = f32x4.mul(y, v128.load(aux, 16));
  }
  if (finish == DECAY_ADD) {
    const factor = v128.load32_splat(aux);
    x = madd(factor, v128.load(c), x);
    y = madd(factor, v128.load(c, 16), y);
  }
  if (finish == ADD_TIMES) {
    const factor = v128.load32_splat(aux);
    x = madd(factor, x, v128.load(c));
    y = madd(factor, y, v128.load(c, 16));
  }
  if (finish == STORE_TILTED) {
    // x is products - aux.
    x = f32x4.neg(f32x4.mul(v128.load(factors), x));
    y = f32x4.neg(f32x4.mul(v128.load(factors, 16), y));
  }
  if (finish == TILT_GRADIENTS) {
    const left = v128.load(c);
    const right = v128.load(c, 16);
    const a = f32x4.mul(v128.load(factors), f32x4.mul(x, v128.load(aux, 2 * ACROSS)));
    const b = f32x4.mul(v128.load(factors, 16), f32x4.mul(y, v128.load(aux, 2 * ACROSS + 16)));
    v128.store(factors, f32x4.neg(f32x4.mul(left, x)));
    v128.store(factors, f32x4.neg(f32x4.mul(right, y)), 16);
    x = madd(left, v128.load(aux, ACROSS), a);
    y = madd(right, v128.load(aux, ACROSS + 16), b);
  }
  v128.store(c, x);
  v128.store(c, y, 16);
}
