/**
 * The inner parts of attention's forward pass as machine code: what block.as.ts does with a block of keys, in its layouts of eight
 * queries or columns, of which a vector of AVX2 has as many. All about tiles, masks, scores and exceptions stays there.
 */
import { type Address, type Integer, type Kernel, TARGETS, type Vector } from '../../../code/kernel';
import { PANEL, SLICE, TILE } from '../../../runtime/cpu/params';
import { checkInside, type NativePlan } from '../../../runtime/cpu/plan';
import type { Native } from '../../../runtime/native/open';
import type { AttentionCall } from '../call';
import { BlockParams, STRETCH_LIST_BYTES } from '../params';
import { type BlockCode, planAttention } from './cpu';

export const VECTOR = 4 * SLICE;
/** From a key's scores of a tile to the next. */
export const ROW = 4 * TILE;
/** Slices of queries of a tile. */
const SLICES = TILE / SLICE;
/** Keys whose scores are in registers together, and their terms of a round of the inner loop. */
const KEYS = 3;
const ROUND = 4;
/** Weights below 2^-100 are 0, since sums of denormals cost a hundred times as much as others. */
export const LOWEST = -100;
/** 2^f = 1 + f (c1 + f (c2 + ...)) on [-0.5, 0.5], last first; largest relative error 9.2e-8. */
const EXP2 = [
  0.0013264727108193619, 0.0096715126445695958, 0.055507337435431292, 0.24022242085267442, 0.69314697759896604, 1,
];

export const planNative: NativePlan<AttentionCall> = (call, machine) => {
  const { q, k, v, out, lse } = call;
  for (const x of [q, k, v, out, lse]) checkInside(x);
  return planAttention(call, machine, { code: codeOf(machine.native) });
};

function codeOf(native: Native): BlockCode {
  const code = (name: string, build: (k: Kernel) => void) => native.kernel(`attention ${name}`, build, TARGETS.avx2);
  return {
    scores: code('scores', (k) => products(k, store)),
    maxima: code('maxima', (k) => products(k, storeMaxima)),
    weights: code('weights', (k) => products(k, storeWeights)),
    exponentials: code('exponentials', exponentials),
    values: code('values', (k) => weighValues(k)),
  };
}

/** 2^x for x <= 126, 0 where it is very small. */
export const exp2Clamped = (k: Kernel, x: Vector): Vector =>
  k.select(x, '>', k.number(LOWEST), exp2(k, x), k.number(0));

/** 2^x for |x| <= 126. */
export function exp2(k: Kernel, x: Vector): Vector {
  const whole = x.round();
  const f = x.minus(whole);
  const [first, ...others] = EXP2.map((each) => () => k.number(each)) as [() => Vector, ...(() => Vector)[]];
  let y = first();
  for (const other of others) {
    const next = other();
    next.addProduct(y, f);
    y = next;
  }
  return y.scaled(whole);
}

/** What becomes of the products of some keys with a slice of queries: the places of each, and numbers of the slice, beside it. */
export type Finish = (k: Kernel, products: readonly Vector[], places: readonly Address[], block: Address) => void;

export const store: Finish = (_, products, places) => {
  for (const [at, x] of products.entries()) x.store(places[at] as Address);
};

const storeMaxima: Finish = (k, products, places, block) => {
  store(k, products, places, block);
  products.reduce((all, x) => all.larger(x), k.load(block)).store(block);
};

const storeWeights: Finish = (k, products, places, block) => {
  const weights = products.map((x) => exp2(k, x));
  store(k, weights, places, block);
  weights.reduce((all, x) => all.plus(x), k.load(block)).store(block);
};

/** Of one tile or two side by side, products [keys][24 queries] of `count` panels [d][6 keys], in rows of so many bytes. */
export function products(k: Kernel, finish: Finish, row = ROW): void {
  const p = k.params(BlockParams);
  const heap = (x: Integer) => x.plus(k.base);
  const [rows, queries, scores, block] = [heap(p.rows()), heap(p.queries()), heap(p.scores()), heap(p.block())];
  const [d, panelBytes] = [p.d(), p.panelBytes()];
  const queryStep = d.times(VECTOR);
  const whole = d.minus(ROUND - 1);
  k.range('tiles', 0, p.groups(), 1, () => {
    const [panel, to] = [rows.copy(), scores.copy()];
    k.range('panels', 0, p.count(), 1, () => {
      for (let first = 0; first < PANEL; first += KEYS) {
        const sums = Array.from({ length: KEYS }, () => Array.from({ length: SLICES }, () => k.number(0)));
        const right = k.rows(queries, queryStep, SLICES);
        const keys = panel.plus(4 * first);
        const some = (count: number) => {
          for (let term = 0; term < count; term++) {
            const vectors = Array.from({ length: SLICES }, (_, s) => k.load(right.at(s, term * VECTOR)));
            for (const [key, of] of sums.entries()) {
              const number = k.splat(keys.at(4 * (term * PANEL + key)));
              for (const [s, sum] of of.entries()) sum.addProduct(number, vectors[s] as Vector);
            }
          }
          right.add(count * VECTOR);
          keys.add(4 * PANEL * count);
        };
        const done = k.integer(0);
        k.range('terms', 0, whole, ROUND, () => {
          some(ROUND);
          done.add(ROUND);
        });
        k.range('last terms', done, d, 1, () => some(1));
        for (let s = 0; s < SLICES; s++) {
          const places = sums.map((_, key) => to.at((first + key) * row + s * VECTOR));
          finish(
            k,
            sums.map((of) => of[s] as Vector),
            places,
            block.at(s * VECTOR),
          );
        }
      }
      panel.add(panelBytes);
      to.add(PANEL * row);
    });
    queries.add(queryStep.times(SLICES));
    scores.add(ROW);
    block.add(ROW);
  });
}

/** Scores of `count` keys to weights 2^(score - maximum), maxima at `queries`, and their sums at `block`. */
function exponentials(k: Kernel): void {
  const p = k.params(BlockParams);
  const [maxima, first, sums] = [p.queries().plus(k.base), p.scores().plus(k.base), p.block().plus(k.base)];
  const count = p.count();
  for (let s = 0; s < SLICES; s++) {
    const maximum = k.load(maxima.at(s * VECTOR));
    const sum = k.load(sums.at(s * VECTOR));
    const [none, lowest] = [k.number(0), k.number(LOWEST)];
    const at = first.plus(s * VECTOR);
    k.range('keys', 0, count, 1, () => {
      const x = k.load(at.at()).minus(maximum);
      const weight = k.select(x, '>', lowest, exp2(k, x), none);
      weight.store(at.at());
      sum.set(sum.plus(weight));
      at.add(ROW);
    });
    sum.store(sums.at(s * VECTOR));
  }
}

/**
 * result += weights^T values: slices two by two, six queries at a time, over the stretches of keys that they see; of one tile, or of
 * tiles side by side in rows of so many bytes.
 */
export function weighValues(k: Kernel, row = ROW): void {
  const resultBytes = (row / 4) * VECTOR;
  const p = k.params(BlockParams);
  const [panelBytes, sliceBytes, slices, groups] = [p.panelBytes(), p.sliceBytes(), p.slices(), p.groups()];
  const [values, result] = [p.rows().plus(k.base), p.result().plus(k.base)];
  const some = (together: number) => {
    const [weights, list, to] = [p.scores().plus(k.base), p.stretches().plus(k.base), result.copy()];
    k.range('groups', 0, groups, 1, () => {
      const sums = Array.from({ length: PANEL }, () => Array.from({ length: together }, () => k.number(0)));
      const count = k.word(list.at());
      const stretch = list.plus(4);
      k.range('stretches', 0, count, 1, () => {
        const left = weights.plus(k.word(stretch.at()).times(PANEL * row));
        const right = k.rows(values.plus(k.word(stretch.at(4)).times(panelBytes)), sliceBytes, together);
        k.range('panels', 0, k.word(stretch.at(8)), 1, () => {
          for (let key = 0; key < PANEL; key++) {
            const vectors = Array.from({ length: together }, (_, s) => k.load(right.at(s, key * VECTOR)));
            for (const [query, of] of sums.entries()) {
              const number = k.splat(left.at(key * row + 4 * query));
              for (const [s, sum] of of.entries()) sum.addProduct(number, vectors[s] as Vector);
            }
          }
          left.add(PANEL * row);
          right.add(panelBytes);
        });
        stretch.add(12);
      });
      k.if(count, '>', 0, () => {
        for (const [query, of] of sums.entries())
          for (const [s, sum] of of.entries()) {
            const place = to.at(query * VECTOR + s * resultBytes);
            sum.plus(place).store(place);
          }
      });
      weights.add(4 * PANEL);
      to.add(PANEL * VECTOR);
      list.add(STRETCH_LIST_BYTES);
    });
    values.add(sliceBytes.times(together));
    result.add(resultBytes * together);
  };
  k.range('slices', 1, slices, 2, () => some(2));
  k.if(slices.remainder(k.integer(2)), '>', 0, () => some(1));
}
