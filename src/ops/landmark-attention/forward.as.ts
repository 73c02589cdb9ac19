/**
 * Grouped softmax's forward pass. Scores of a block of keys, [keys][24 queries], hold whole blocks of tokens, each in panels of its
 * own with its landmark behind it. For queries behind a block, exponentials of its tokens are divided by their sum, and what takes
 * part in the softmax is the landmark; for queries in it, tokens take part themselves, under their largest score together.
 */
import { Segment } from '../attention/blocks.as';
import { rescale, rowOfSlices, scoreBlock } from '../attention/forward/block.as';
import { AFTER_HOOKS, BLOCK, MAXIMA, SCORES, SEGMENTS, stateOf, SUMS } from '../attention/forward/memory.as';
import { packedKeysOf, slicesOf } from '../attention/forward/pack.as';
import { BLOCK_PANELS, ForwardParams } from '../attention/params.generated.as';
import { exceptionalRow } from './exceptional.as';
import { Grouping } from './params.generated.as';
import { STORE_MAX, UNSEEN } from '../../runtime/wasm/assembly/product.as';
import { exp2Clamped, larger } from '../../runtime/wasm/assembly/vector.as';
import { PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';

const ROW: usize = TILE * 4;
// For each block of tokens and query: the score that takes part in the softmax, and the sum of the tokens' exponentials.
const GATES: usize = AFTER_HOOKS;
const TOTALS: usize = GATES + <usize>BLOCK_PANELS * ROW;
export const FORWARD_BYTES: usize = TOTALS + <usize>BLOCK_PANELS * ROW;

@inline
function own(f: ForwardParams): Grouping {
  return changetype<Grouping>(changetype<usize>(f) + ForwardParams.BYTES);
}

/** Four queries from `first` on, where they are behind the block of tokens before token `past`. */
@inline
export function behind(first: i32, past: i32): v128 {
  return i32x4.ge_s(i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3)), i32x4.splat(past));
}

/** attention/forward/hook.as.ts says what its methods are for. */
@unmanaged
export class ForwardGroups {
  @inline get hasScores(): bool { return false; }
  @inline get hasOwnWeights(): bool { return true; }
  @inline get passes(): i32 { return 2; }
  @inline together(f: ForwardParams): i32 { return own(f).panels; }
  @inline open(f: ForwardParams, batch: i32, head: i32, first: i32, rows: i32, keyNorm: f32, scratch: usize): f32 { return 1; }
  @inline addBlock(f: ForwardParams, place: i32, segments: i32, rows: i32, tile: usize, scratch: usize): void {}
  @inline rescale(row: i32, slices: i32, factor: v128): void {}
  @inline finishRow(f: ForwardParams, r: i32, at: usize, sums: usize, slices: i32, inverse: f32, to: usize, scratch: usize): void {
    rowOfSlices(sums, slices, inverse, to);
  }
  @inline exceptionalRow(f: ForwardParams, place: i32, r: i32, tile: usize, scratch: usize): void {
    exceptionalRow(f, own(f).block, place, stateOf(tile).tile * TILE + r, tile, scratch);
  }
  @inline beginPass(f: ForwardParams, pass: i32, at: usize, sums: usize, total: f64, seesAny: bool, row: usize): void {}
  @inline exactWeight(f: ForwardParams, pass: i32, weight: f64, batch: i32, i: i32, head: i32, key: usize): f64 { return weight; }

  weigh(f: ForwardParams, place: i32, segments: i32, panels: i32, rows: i32, tile: usize, scratch: usize): void {
    const p = f.problem;
    scoreBlock(p, packedKeysOf(f, place, scratch), p.d, segments, rows, tile, scratch, STORE_MAX);
    const at = changetype<Segment>(scratch + SEGMENTS).first / own(f).panels;
    const first = stateOf(tile).tile * TILE;
    for (let lane: i32 = 0; lane < rows; lane += SLICE) exponentiate(own(f), panels, at, first + lane, scratch + (<usize>lane << 2));
    rescale<ForwardGroups>(rows, slicesOf(p), tile, scratch);
    for (let lane: i32 = 0; lane < rows; lane += SLICE) share(own(f), panels, at, first + lane, tile, scratch + (<usize>lane << 2), <usize>lane << 2);
  }
}

/** Scores of eight queries, `first` the first of them, to exponentials under the largest of each block of tokens, the first of them number `at`. */
function exponentiate(grouping: Grouping, panels: i32, at: i32, first: i32, scratch: usize): void {
  const block = grouping.block;
  const step = <usize>(grouping.panels * PANEL) * ROW;
  const unseen = f32x4.splat(UNSEEN);
  let most0 = unseen;
  let most1 = unseen;
  let scores = scratch + SCORES;
  let gates = scratch + GATES;
  for (let left = panels * PANEL; left > 0; left -= grouping.panels * PANEL) {
    const end = scores + <usize>min(block, left) * ROW;
    let max0 = unseen;
    let max1 = unseen;
    for (let row = scores; row < end; row += ROW) {
      max0 = larger(max0, v128.load(row));
      max1 = larger(max1, v128.load(row, 16));
    }
    let sum0 = f32x4.splat(0);
    let sum1 = sum0;
    for (let row = scores; row < end; row += ROW) {
      const x0 = exp2Clamped(f32x4.sub(v128.load(row), max0));
      const x1 = exp2Clamped(f32x4.sub(v128.load(row, 16), max1));
      v128.store(row, x0);
      v128.store(row, x1, 16);
      sum0 = f32x4.add(sum0, x0);
      sum1 = f32x4.add(sum1, x1);
    }
    const past = ++at * (block + 1);
    if (left > block) {
      const landmark = scores + <usize>block * ROW;
      max0 = v128.bitselect(v128.load(landmark), max0, behind(first, past));
      max1 = v128.bitselect(v128.load(landmark, 16), max1, behind(first + 4, past));
    }
    v128.store(gates, max0);
    v128.store(gates, max1, 16);
    v128.store(gates + (TOTALS - GATES), sum0);
    v128.store(gates + (TOTALS - GATES), sum1, 16);
    most0 = larger(most0, max0);
    most1 = larger(most1, max1);
    gates += ROW;
    scores += step;
  }
  v128.store(scratch + BLOCK, most0);
  v128.store(scratch + BLOCK, most1, 16);
}

/** Exponentials to weights under the running maximum, and their sums. */
function share(grouping: Grouping, panels: i32, at: i32, first: i32, tile: usize, scratch: usize, lane: usize): void {
  const block = grouping.block;
  const maxima = tile + MAXIMA + lane;
  const sums = tile + SUMS + lane;
  const zero = f32x4.splat(0);
  let sum0 = v128.load(sums);
  let sum1 = v128.load(sums, 16);
  let row = scratch + SCORES;
  let gates = scratch + GATES;
  for (let left = panels * PANEL; left > 0; left -= grouping.panels * PANEL) {
    const end = row + <usize>min(left, grouping.panels * PANEL) * ROW;
    const tokens = row + <usize>min(block, left) * ROW;
    const past = ++at * (block + 1);
    const behind0 = behind(first, past);
    const behind1 = behind(first + 4, past);
    const total0 = v128.load(gates + (TOTALS - GATES));
    const total1 = v128.load(gates + (TOTALS - GATES), 16);
    const gate0 = exp2Clamped(f32x4.sub(v128.load(gates), v128.load(maxima)));
    const gate1 = exp2Clamped(f32x4.sub(v128.load(gates, 16), v128.load(maxima, 16)));
    sum0 = f32x4.add(sum0, v128.bitselect(gate0, f32x4.mul(gate0, total0), behind0));
    sum1 = f32x4.add(sum1, v128.bitselect(gate1, f32x4.mul(gate1, total1), behind1));
    const factor0 = v128.bitselect(f32x4.div(gate0, total0), gate0, behind0);
    const factor1 = v128.bitselect(f32x4.div(gate1, total1), gate1, behind1);
    for (; row < tokens; row += ROW) {
      v128.store(row, f32x4.mul(v128.load(row), factor0));
      v128.store(row, f32x4.mul(v128.load(row, 16), factor1), 16);
    }
    // Landmarks, and what fills up their panels, have no weight.
    for (; row < end; row += ROW) {
      v128.store(row, zero);
      v128.store(row, zero, 16);
    }
    gates += ROW;
  }
  v128.store(sums, sum0);
  v128.store(sums, sum1, 16);
}
