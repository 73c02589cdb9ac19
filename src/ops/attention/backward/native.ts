/** The products of attention's backward pass as machine code: what block.as.ts does with a block of keys, in its layouts. */
import { type Address, type Kernel, TARGETS, type Vector } from '../../../code/kernel';
import { PANEL } from '../../../runtime/cpu/params';
import { checkInside, type NativePlan } from '../../../runtime/cpu/plan';
import type { AttentionBackwardCall } from '../call';
import { exp2Clamped, type Finish, products, store, ROW as TILE_ROW, VECTOR, weighValues } from '../forward/native';
import { BlockParams } from '../params';
import { planAttentionBackward } from './cpu';

/** Rows of a pair of tiles, and of so many queries what a slice of columns takes. */
const ROW = 2 * TILE_ROW;
const SLICE_BYTES = (ROW / 4) * VECTOR;
/** Queries of a round of the inner loop. */
const ROUND = 8;

export const planNative: NativePlan<AttentionBackwardCall> = (call, machine) => {
  const { q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, gradTables } = call;
  for (const x of [q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, gradTables]) if (x) checkInside(x);
  const code = (name: string, build: (k: Kernel) => void) =>
    machine.native.kernel(`attentionBackward ${name}`, build, TARGETS.avx2);
  return planAttentionBackward(call, machine, {
    code: {
      scores: code('scores', (k) => products(k, store, ROW)),
      weights: code('weights', (k) => products(k, storeWeights, ROW)),
      gradients: code('gradients', (k) => products(k, storeGradients, ROW)),
      ofKeys: code('ofKeys', addToKeys),
      ofQueries: code('ofQueries', (k) => weighValues(k, ROW)),
    },
  });
};

/** 2^(score - lse). */
const storeWeights: Finish = (k, scores, places, block) => {
  for (const [at, x] of scores.entries()) exp2Clamped(k, x.minus(block)).store(places[at] as Address);
};

/** weight * (gradOut . value - delta), in the weight's place. */
const storeGradients: Finish = (_, sums, places, block) => {
  for (const [at, x] of sums.entries()) {
    const place = places[at] as Address;
    x.minus(block).times(place).store(place);
  }
};

/** Sums of `count` panels of keys += weights [keys][48] times the rows of `d` queries, slices two by two. */
function addToKeys(k: Kernel): void {
  const p = k.params(BlockParams);
  const [count, d, slices, sliceBytes] = [p.count(), p.d(), p.slices(), p.sliceBytes()];
  const [rows, result] = [p.rows().plus(k.base), p.result().plus(k.base)];
  const some = (together: number) => {
    const [weights, to] = [p.scores().plus(k.base), result.copy()];
    k.range('panels', 0, count, 1, () => {
      const sums = Array.from({ length: PANEL }, () => Array.from({ length: together }, () => k.number(0)));
      const [left, right] = [weights.copy(), rows.copy()];
      k.range('queries', 0, d, ROUND, () => {
        for (let query = 0; query < ROUND; query++) {
          const vectors = Array.from({ length: together }, (_, s) =>
            k.load(right.at(query * VECTOR + s * SLICE_BYTES)),
          );
          for (const [key, of] of sums.entries()) {
            const number = k.splat(left.at(key * ROW + 4 * query));
            for (const [s, sum] of of.entries()) sum.addProduct(number, vectors[s] as Vector);
          }
        }
        left.add(4 * ROUND);
        right.add(VECTOR * ROUND);
      });
      for (const [key, of] of sums.entries())
        for (const [s, sum] of of.entries()) {
          const place = s === 0 ? to.at(key * VECTOR) : to.at(key * VECTOR, sliceBytes);
          sum.plus(place).store(place);
        }
      weights.add(PANEL * ROW);
      to.add(PANEL * VECTOR);
    });
    rows.add(SLICE_BYTES * together);
    result.add(sliceBytes.times(together));
  };
  k.range('slices', 1, slices, 2, () => some(2));
  k.if(slices.remainder(k.integer(2)), '>', 0, () => some(1));
}
