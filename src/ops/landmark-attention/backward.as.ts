/**
 * Gradients of grouped softmax. With w the weights, P the weight of a landmark and a = gradOut . value less gradOut . out, the gradient
 * of the scores of a query's own tokens is w a, as in attention; the landmark's is the sum of w a over its block, and that of the
 * block's tokens w a less w / P times this sum. Five products a pair, as in attention.
 */
import { addToKeys, addToQueries, multiplyBlock } from '../attention/backward/block.as';
import {
  BACKWARD_BYTES as END, BLOCK_PANELS, DELTAS, GRADIENT_ROWS, GRADIENTS, LSES, PANEL_ROWS, Part, QUERIES, QUERY_ROWS, ROW, SEGMENTS,
  SUMS, WEIGHTS,
} from '../attention/backward/memory.as';
import { pairSegment } from '../attention/backward/walk.as';
import { BackwardParams } from '../attention/params.generated.as';
import { behind } from './forward.as';
import { Grouping } from './params.generated.as';
import { STORE, TIMES_LESS, UNSEEN } from '../../runtime/wasm/assembly/product.as';
import { exp2Clamped, larger } from '../../runtime/wasm/assembly/vector.as';
import { PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';

// Behind attention's memory: the weights, and those of landmarks, 0 for queries that are not behind them.
const SHARED: usize = END; // [168 keys][48]
const SHARES: usize = SHARED + <usize>BLOCK_PANELS * PANEL_ROWS; // [28 blocks][48]
export const BACKWARD_BYTES: usize = SHARES + <usize>BLOCK_PANELS * ROW;

@inline
function own(f: BackwardParams): Grouping {
  return changetype<Grouping>(changetype<usize>(f) + BackwardParams.BYTES);
}

/** attention/backward/hook.as.ts says what its methods are for. */
@unmanaged
export class BackwardGroups {
  @inline get hasScores(): bool { return false; }
  @inline factor(f: BackwardParams): f32 { return <f32>f.problem.scale; }
  @inline together(f: BackwardParams): i32 { return own(f).panels; }
  @inline startPair(d: i32): void {}
  @inline openPair(f: BackwardParams, t: Part, tiles: i32, scratch: usize): void {}
  @inline openRow(f: BackwardParams, t: Part, row: usize, query: i32, at: usize, delta: f32, scratch: usize): void {}
  @inline storePair(f: BackwardParams, place: usize, rows: i32, scratch: usize): void {}

  addBlock(f: BackwardParams, t: Part, segments: i32, scratch: usize): void {
    const p = f.problem;
    multiplyBlock(p, t.keyPanels, p.d, segments, QUERIES, WEIGHTS, STORE, 0, WEIGHTS, scratch);
    this.each(f, t, segments, scratch, true);
    addToKeys(t, t.sumsV, p.e, segments, WEIGHTS, GRADIENT_ROWS, scratch);
    multiplyBlock(p, t.valuePanels, p.e, segments, GRADIENTS, WEIGHTS, TIMES_LESS, DELTAS, WEIGHTS, scratch);
    this.each(f, t, segments, scratch, false);
    addToKeys(t, t.sumsK, p.d, segments, WEIGHTS, QUERY_ROWS, scratch);
    addToQueries(p, t, segments, WEIGHTS, SUMS, scratch);
  }

  /** Eight queries at a time: scores to weights, or what the products left to gradients of the scores. */
  each(f: BackwardParams, t: Part, segments: i32, scratch: usize, areScores: bool): void {
    const grouping = own(f);
    const at = pairSegment(scratch + SEGMENTS, 0).first / grouping.panels;
    for (let half: i32 = 0; half < 2; half++) {
      const keys = keysSeen(segments, half, scratch);
      for (let slice: i32 = 0; keys > 0 && slice < TILE; slice += SLICE) {
        const lane = scratch + (<usize>(half * TILE + slice) << 2);
        const first = (t.tile + half) * TILE + slice;
        if (areScores) weigh(grouping, keys, at, first, lane);
        else turn(grouping, keys, at, first, lane);
      }
    }
  }
}

/** Keys of a block that a tile of the pair meets: those from the first on. */
function keysSeen(segments: i32, half: i32, scratch: usize): i32 {
  let panels: i32 = 0;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = pairSegment(scratch + SEGMENTS, at);
    if ((half == 0 ? segment.left : segment.right) >= 0) panels += segment.past - segment.first;
  }
  return panels * PANEL;
}

/** Scores of eight queries, `first` the first of them, to weights, in two places; blocks of tokens from number `at` on. */
function weigh(grouping: Grouping, keys: i32, at: i32, first: i32, lane: usize): void {
  const block = grouping.block;
  const slots = grouping.panels * PANEL;
  const lse0 = v128.load(lane, LSES);
  const lse1 = v128.load(lane, LSES + 16);
  const zero = f32x4.splat(0);
  let row = lane + WEIGHTS;
  let shares = lane + SHARES;
  for (let left = keys; left > 0; left -= slots) {
    const tokens = row + <usize>min(block, left) * ROW;
    const end = row + <usize>min(slots, left) * ROW;
    const past = (at + 1) * (block + 1);
    // Queries that are not behind it see its tokens up to themselves.
    if (first < past) hideLater(row, tokens, first, at * (block + 1));
    let max0 = f32x4.splat(UNSEEN);
    let max1 = max0;
    for (let x = row; x < tokens; x += ROW) {
      max0 = larger(max0, v128.load(x));
      max1 = larger(max1, v128.load(x, 16));
    }
    let sum0 = zero;
    let sum1 = zero;
    for (let x = row; x < tokens; x += ROW) {
      const x0 = exp2Clamped(f32x4.sub(v128.load(x), max0));
      const x1 = exp2Clamped(f32x4.sub(v128.load(x, 16), max1));
      v128.store(x, x0);
      v128.store(x, x1, 16);
      sum0 = f32x4.add(sum0, x0);
      sum1 = f32x4.add(sum1, x1);
    }
    let factor0 = exp2Clamped(f32x4.sub(max0, lse0));
    let factor1 = exp2Clamped(f32x4.sub(max1, lse1));
    let share0 = zero;
    let share1 = zero;
    if (left > block) {
      const behind0 = behind(first, past);
      const behind1 = behind(first + 4, past);
      share0 = v128.and(exp2Clamped(f32x4.sub(v128.load(tokens), lse0)), behind0);
      share1 = v128.and(exp2Clamped(f32x4.sub(v128.load(tokens, 16), lse1)), behind1);
      factor0 = v128.bitselect(f32x4.div(share0, sum0), factor0, behind0);
      factor1 = v128.bitselect(f32x4.div(share1, sum1), factor1, behind1);
    }
    v128.store(shares, share0);
    v128.store(shares, share1, 16);
    for (; row < tokens; row += ROW) {
      const x0 = f32x4.mul(v128.load(row), factor0);
      const x1 = f32x4.mul(v128.load(row, 16), factor1);
      v128.store(row, x0);
      v128.store(row, x1, 16);
      v128.store(row, x0, SHARED - WEIGHTS);
      v128.store(row, x1, SHARED - WEIGHTS + 16);
    }
    for (; row < end; row += ROW) {
      v128.store(row, zero);
      v128.store(row, zero, 16);
    }
    shares += ROW;
    at++;
  }
}

/** Scores of tokens behind a query, very low; the first of the rows up to `past` is that of token `token`. */
function hideLater(row: usize, past: usize, first: i32, token: i32): void {
  const unseen = f32x4.splat(UNSEEN);
  for (; row < past; row += ROW, token++) {
    v128.store(row, v128.bitselect(v128.load(row), unseen, behind(first, token)));
    v128.store(row, v128.bitselect(v128.load(row, 16), unseen, behind(first + 4, token)), 16);
  }
}

/** Weights times a, to gradients of the scores: of tokens that queries are behind of and of their landmarks. */
function turn(grouping: Grouping, keys: i32, at: i32, first: i32, lane: usize): void {
  const block = grouping.block;
  const slots = grouping.panels * PANEL;
  const zero = f32x4.splat(0);
  let start = lane + WEIGHTS;
  let shares = lane + SHARES;
  for (let left = keys; left > block && first + SLICE > (at + 1) * (block + 1); left -= slots, at++) {
    const tokens = start + <usize>block * ROW;
    const share0 = v128.load(shares);
    const share1 = v128.load(shares, 16);
    const has0 = f32x4.gt(share0, zero);
    const has1 = f32x4.gt(share1, zero);
    let sum0 = zero;
    let sum1 = zero;
    for (let row = start; row < tokens; row += ROW) {
      sum0 = f32x4.add(sum0, v128.load(row));
      sum1 = f32x4.add(sum1, v128.load(row, 16));
    }
    const mean0 = v128.and(f32x4.div(sum0, share0), has0);
    const mean1 = v128.and(f32x4.div(sum1, share1), has1);
    for (let row = start; row < tokens; row += ROW) {
      v128.store(row, f32x4.sub(v128.load(row), f32x4.mul(v128.load(row, SHARED - WEIGHTS), mean0)));
      v128.store(row, f32x4.sub(v128.load(row, 16), f32x4.mul(v128.load(row, SHARED - WEIGHTS + 16), mean1)), 16);
    }
    v128.store(tokens, v128.and(sum0, has0));
    v128.store(tokens, v128.and(sum1, has1), 16);
    start += <usize>slots * ROW;
    shares += ROW;
  }
}
