/**
 * Softmax of whole rows, and its gradient. Tasks are runs of rows, or, of an axis that is not the last, blocks of columns,
 * each with a state of its own.
 */
import { largest, weight, weights } from '../../runtime/wasm/assembly/rows.as';
import { dot, get, put } from '../../runtime/wasm/assembly/vector.as';
import { COLUMNS, SoftmaxParams } from './params.generated.as';

/** States of columns: the largest, and the sum. */
const STATES: usize = <usize>COLUMNS << 2;

export const SCRATCH_BYTES: usize = 2 * STATES;

export function softmax(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SoftmaxParams>(params);
  const bytes = p.n << 2;
  const last = min((<usize>task + 1) * p.together, <usize>p.rows);
  for (let r = <usize>task * p.together; r < last; r++) softmaxOf(p.x + r * bytes, p.out + r * bytes, bytes);
}

function softmaxOf(x: usize, out: usize, bytes: usize): void {
  const factor = f32x4.splat(1 / weights(x, bytes, largest(x, bytes), out));
  let at: usize = 0;
  for (; at + 64 <= bytes; at += 64) {
    v128.store(out + at, f32x4.mul(v128.load(out + at), factor));
    v128.store(out + at, f32x4.mul(v128.load(out + at, 16), factor), 16);
    v128.store(out + at, f32x4.mul(v128.load(out + at, 32), factor), 32);
    v128.store(out + at, f32x4.mul(v128.load(out + at, 48), factor), 48);
  }
  for (; at + 16 <= bytes; at += 16) v128.store(out + at, f32x4.mul(v128.load(out + at), factor));
  for (; at < bytes; at += 4) put(out + at, f32x4.mul(get(out + at, false), factor), false);
}

export function softmaxGradient(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SoftmaxParams>(params);
  const bytes = p.n << 2;
  const last = min((<usize>task + 1) * p.together, <usize>p.rows);
  for (let r = <usize>task * p.together; r < last; r++) {
    const out = p.out + r * bytes;
    const gradOut = p.gradOut + r * bytes;
    const gradX = p.gradX + r * bytes;
    const mean = f32x4.splat(dot(out, gradOut, bytes));
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) deviate(out + at, gradOut + at, mean, gradX + at, true);
    for (; at < bytes; at += 4) deviate(out + at, gradOut + at, mean, gradX + at, false);
  }
}

/** to = share (grad - mean). */
@inline
function deviate(share: usize, grad: usize, mean: v128, to: usize, whole: bool): void {
  put(to, f32x4.mul(get(share, whole), f32x4.sub(get(grad, whole), mean)), whole);
}

/** What a pass over a block of columns does with each element. */
const LARGEST: i32 = 0;
const WEIGHTS: i32 = 1;
const SHARES: i32 = 2;
const PRODUCTS: i32 = 3;
const DEVIATIONS: i32 = 4;

export function softmaxOfColumns(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SoftmaxParams>(params);
  const sums = scratch + STATES;
  const bytes = widthOf(p, task);
  const start = startOf(p, task);
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(scratch + at, f32x4.splat(-Infinity));
    v128.store(sums + at, f32x4.splat(0));
  }
  pass(LARGEST, p, p.x + start, 0, 0, scratch, bytes);
  pass(WEIGHTS, p, p.x + start, 0, p.out + start, scratch, bytes);
  for (let at: usize = 0; at < bytes; at += 16) v128.store(sums + at, f32x4.div(f32x4.splat(1), v128.load(sums + at)));
  pass(SHARES, p, p.out + start, 0, p.out + start, scratch, bytes);
}

export function softmaxGradientOfColumns(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SoftmaxParams>(params);
  const bytes = widthOf(p, task);
  const start = startOf(p, task);
  memory.fill(scratch + STATES, 0, bytes);
  pass(PRODUCTS, p, p.out + start, p.gradOut + start, 0, scratch, bytes);
  pass(DEVIATIONS, p, p.out + start, p.gradOut + start, p.gradX + start, scratch, bytes);
}

/** Where the block of a task begins, in bytes, and how wide it is. */
function startOf(p: SoftmaxParams, task: i32): usize {
  return ((<usize>task / p.blocks) * p.n * p.inner + (<usize>task % p.blocks) * p.together) << 2;
}

function widthOf(p: SoftmaxParams, task: i32): usize {
  return min(p.together, p.inner - (<usize>task % p.blocks) * p.together) << 2;
}

@inline
function pass(step: i32, p: SoftmaxParams, x: usize, grad: usize, to: usize, states: usize, bytes: usize): void {
  const pitch = p.inner << 2;
  const end = p.n * pitch;
  for (let row: usize = 0; row < end; row += pitch) {
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) take(step, x + row + at, grad + row + at, to + row + at, states + at, true);
    for (; at < bytes; at += 4) take(step, x + row + at, grad + row + at, to + row + at, states + at, false);
  }
}

@inline
function take(step: i32, x: usize, grad: usize, to: usize, state: usize, whole: bool): void {
  const sum = state + STATES;
  if (step == LARGEST) {
    put(state, f32x4.max(get(state, whole), get(x, whole)), whole);
  } else if (step == WEIGHTS) {
    const y = weight(get(x, whole), get(state, whole));
    put(to, y, whole);
    put(sum, f32x4.add(get(sum, whole), y), whole);
  } else if (step == SHARES) {
    put(to, f32x4.mul(get(x, whole), get(sum, whole)), whole);
  } else if (step == PRODUCTS) {
    put(sum, f32x4.add(get(sum, whole), f32x4.mul(get(x, whole), get(grad, whole))), whole);
  } else {
    deviate(x, grad, get(sum, whole), to, whole);
  }
}
