/** Linear attention's small kernels: one decoded token, and what the gradients need beside the passes themselves. */
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { HeadSumsParams, MOST_FEATURES, QuotientParams, Rows, RUN, StepParams } from './params.generated.as';
import { WIDEST } from './memory.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';

const ROW: usize = <usize>WIDEST * 4;
const FEATURES: usize = <usize>MOST_FEATURES * 4;
export const STEP_BYTES: usize = 2 * FEATURES + 2 * ROW;

/** The token's row of q, k or v as f32. */
function tokenRow(x: Rows, bh: i32, h: i32, buffer: usize): usize {
  const source = rowAddress(x.operand, bh / h, 0, ((bh % h) * x.heads) / h);
  return loadRow(source, x.operand.element, x.operand.dtype, x.columns, buffer);
}

/** state = decay state + k^T v and out = q state for one head of one batch. */
export function linearStep(params: usize, task: i32, scratch: usize): void {
  const p = changetype<StepParams>(params);
  const h = p.h;
  const d = p.d;
  const e = p.e;
  const q = tokenRow(p.q, task, h, scratch);
  const k = tokenRow(p.k, task, h, scratch + FEATURES);
  const v = tokenRow(p.v, task, h, scratch + 2 * FEATURES);
  const result = scratch + 2 * FEATURES + ROW;
  memory.fill(result, 0, ROW);
  const decay = <f32>f64.load(p.decays + (<usize>(task % h) << 3));
  const step = <usize>e << 2;
  let from = p.state + <usize>(task * d) * step;
  let to = p.nextState + <usize>(task * d) * step;
  let r: i32 = 0;
  for (; r + 4 <= d; r += 4, from += 4 * step, to += 4 * step) {
    fourRows(from, to, step, v, result, decay, k + (r << 2), q + (r << 2));
  }
  for (; r < d; r++, from += step, to += step) {
    oneRow(from, to, 0, step, v, result, decay, f32.load(k + (r << 2)), f32.load(q + (r << 2)));
  }

  let factor: f32 = 1;
  if (p.sums != 0) {
    let denominator: f32 = 0;
    for (let c: usize = 0; c < <usize>d << 2; c += 4) {
      const at = (<usize>(task * d) << 2) + c;
      const sum = decay * f32.load(p.sums + at) + f32.load(k + c);
      f32.store(p.nextSums + at, sum);
      denominator += f32.load(q + c) * sum;
    }
    denominator += <f32>p.epsilon;
    f32.store(p.denominators + (<usize>task << 2), denominator);
    factor = 1 / denominator;
  }
  for (let c: usize = 0; c < step; c += 4) f32.store(result + c, f32.load(result + c) * factor);
  const dtype = p.out.dtype;
  storeRow(result, p.out.address + <usize>(task * e) * bytesOf(dtype), dtype, e);
}

/** Four rows of the state at once, so that the result is read and written once for all of them. */
function fourRows(from: usize, to: usize, step: usize, v: usize, result: usize, decay: f32, k: usize, q: usize): void {
  const decays = f32x4.splat(decay);
  const k0 = v128.load32_splat(k);
  const k1 = v128.load32_splat(k, 4);
  const k2 = v128.load32_splat(k, 8);
  const k3 = v128.load32_splat(k, 12);
  const q0 = v128.load32_splat(q);
  const q1 = v128.load32_splat(q, 4);
  const q2 = v128.load32_splat(q, 8);
  const q3 = v128.load32_splat(q, 12);
  let c: usize = 0;
  for (; c + 16 <= step; c += 16) {
    const value = v128.load(v + c);
    let at = c;
    let s = madd(decays, v128.load(from + at), f32x4.mul(k0, value));
    v128.store(to + at, s);
    let sum = madd(q0, s, v128.load(result + c));
    at += step;
    s = madd(decays, v128.load(from + at), f32x4.mul(k1, value));
    v128.store(to + at, s);
    sum = madd(q1, s, sum);
    at += step;
    s = madd(decays, v128.load(from + at), f32x4.mul(k2, value));
    v128.store(to + at, s);
    sum = madd(q2, s, sum);
    at += step;
    s = madd(decays, v128.load(from + at), f32x4.mul(k3, value));
    v128.store(to + at, s);
    v128.store(result + c, madd(q3, s, sum));
  }
  if (c == step) return;
  for (let r: usize = 0; r < 4; r++) {
    const at = r * step;
    oneRow(from + at, to + at, c, step, v, result, decay, f32.load(k + (r << 2)), f32.load(q + (r << 2)));
  }
}

/** A row of the state from byte `c` on. */
function oneRow(from: usize, to: usize, c: usize, step: usize, v: usize, result: usize, decay: f32, k: f32, q: f32): void {
  for (; c < step; c += 4) {
    const s = decay * f32.load(from + c) + k * f32.load(v + c);
    f32.store(to + c, s);
    f32.store(result + c, f32.load(result + c) + q * s);
  }
}

export function linearQuotient(params: usize, task: i32, scratch: usize): void {
  const p = changetype<QuotientParams>(params);
  const out = p.out;
  const gradOut = p.gradOut;
  const h = p.h;
  const n = p.n;
  const e = p.e;
  const past = min(p.rows, (task + 1) * RUN);
  for (let at = task * RUN; at < past; at++) {
    const batch = at / h / n;
    const row = (at / h) % n;
    const head = at % h;
    const a = loadRow(rowAddress(out, batch, row, head), out.element, out.dtype, e, scratch);
    const from = rowAddress(gradOut, batch, row, head);
    const b = loadRow(from, gradOut.element, gradOut.dtype, e, scratch + ROW);
    const factor: f32 = 1 / f32.load(p.denominators + (<usize>at << 2));
    const to = p.to + (<usize>at * <usize>(e + 1) << 2);
    const bytes = <usize>e << 2;
    let sums = f32x4.splat(0);
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16) {
      const grad = f32x4.mul(v128.load(b + c), f32x4.splat(factor));
      v128.store(to + c, grad);
      sums = madd(grad, v128.load(a + c), sums);
    }
    let sum = sumOfLanes(sums);
    for (; c < bytes; c += 4) {
      const grad = f32.load(b + c) * factor;
      f32.store(to + c, grad);
      sum += grad * f32.load(a + c);
    }
    f32.store(to + bytes, -sum);
  }
}

/** Sums over the heads that share a head of the keys or values. */
export function linearHeadSums(params: usize, task: i32, scratch: usize): void {
  const p = changetype<HeadSumsParams>(params);
  const g = p.g;
  const repeat = p.h / g;
  const bytes = <usize>p.columns << 2;
  const dtype = p.to.dtype;
  const past = min(p.rows, (task + 1) * RUN) * g;
  for (let at = task * RUN * g; at < past; at++) {
    let from = p.from + <usize>(at * repeat) * bytes;
    memory.copy(scratch, from, bytes);
    for (let head: i32 = 1; head < repeat; head++) {
      from += bytes;
      for (let c: usize = 0; c < bytes; c += 4) f32.store(scratch + c, f32.load(scratch + c) + f32.load(from + c));
    }
    storeRow(scratch, p.to.address + <usize>at * <usize>p.columns * bytesOf(dtype), dtype, p.columns);
  }
}
