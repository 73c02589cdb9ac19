/**
 * Fourier transforms of some rows or columns at a time, in place. A complex number of four channels is two vectors, `plane` bytes
 * apart. Frequencies come out in the order that the radices leave them in, and go back in so.
 */
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { FourierAxis } from './params.generated.as';

/** Whether numbers are multiplied by twiddles, and when. */
const PLAIN: i32 = 0;
const BEFORE: i32 = 1;
const AFTER: i32 = 2;

/** Numbers that are `step` bytes apart, of transforms `laneStep` bytes apart. */
export function transform(re: usize, plane: usize, step: usize, lanes: i32, laneStep: usize, axis: FourierAxis): void {
  let twiddles = axis.twiddles;
  let length = axis.size;
  const count = i32.load(axis.radices);
  for (let at: i32 = 1; at <= count; at++) {
    const radix = i32.load(axis.radices + (<usize>at << 2));
    stage(radix, AFTER, re, plane, axis.size, length, step, lanes, laneStep, twiddles);
    length /= radix;
    twiddles += <usize>(length * (radix - 1)) << 3;
  }
}

/** The inverse times the size: the same steps backwards, with real and imaginary parts exchanged. */
export function inverse(re: usize, plane: usize, step: usize, lanes: i32, laneStep: usize, axis: FourierAxis): void {
  let twiddles = axis.twiddles + (<usize>(axis.size - 1) << 3);
  let length: i32 = 1;
  for (let at = i32.load(axis.radices); at > 0; at--) {
    const radix = i32.load(axis.radices + (<usize>at << 2));
    twiddles -= <usize>(length * (radix - 1)) << 3;
    length *= radix;
    stage(radix, BEFORE, re + plane, 0 - plane, axis.size, length, step, lanes, laneStep, twiddles);
  }
}

/** One radix of blocks of `length` numbers. */
function stage(
  radix: i32,
  when: i32,
  re: usize,
  plane: usize,
  size: i32,
  length: i32,
  step: usize,
  lanes: i32,
  laneStep: usize,
  twiddles: usize,
): void {
  const places = length / radix;
  const apart = <usize>places * step;
  const blockStep = <usize>length * step;
  for (let place: i32 = 0; place < places; place++, re += step, twiddles += <usize>(radix - 1) << 3) {
    const kind = place == 0 ? PLAIN : when;
    let at = re;
    for (let first: i32 = 0; first < size; first += length, at += blockStep) {
      if (radix == 4) {
        if (kind == AFTER) fourAfter(at, plane, apart, lanes, laneStep, twiddles);
        else if (kind == BEFORE) fourBefore(at, plane, apart, lanes, laneStep, twiddles);
        else fourPlain(at, plane, apart, lanes, laneStep, twiddles);
      } else if (radix == 3) {
        if (kind == AFTER) threeAfter(at, plane, apart, lanes, laneStep, twiddles);
        else if (kind == BEFORE) threeBefore(at, plane, apart, lanes, laneStep, twiddles);
        else threePlain(at, plane, apart, lanes, laneStep, twiddles);
      } else if (kind == AFTER) twoAfter(at, plane, apart, lanes, laneStep, twiddles);
      else if (kind == BEFORE) twoBefore(at, plane, apart, lanes, laneStep, twiddles);
      else twoPlain(at, plane, apart, lanes, laneStep, twiddles);
    }
  }
}

// Functions of their own, so that each has its numbers in registers.
function fourPlain(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  four(PLAIN, at, plane, apart, lanes, laneStep, twiddles);
}
function fourBefore(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  four(BEFORE, at, plane, apart, lanes, laneStep, twiddles);
}
function fourAfter(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  four(AFTER, at, plane, apart, lanes, laneStep, twiddles);
}
function threePlain(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  three(PLAIN, at, plane, apart, lanes, laneStep, twiddles);
}
function threeBefore(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  three(BEFORE, at, plane, apart, lanes, laneStep, twiddles);
}
function threeAfter(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  three(AFTER, at, plane, apart, lanes, laneStep, twiddles);
}
function twoPlain(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  two(PLAIN, at, plane, apart, lanes, laneStep, twiddles);
}
function twoBefore(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  two(BEFORE, at, plane, apart, lanes, laneStep, twiddles);
}
function twoAfter(at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  two(AFTER, at, plane, apart, lanes, laneStep, twiddles);
}

/** c - a * b, fused if the build can. */
@inline
function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** The real part of a product of complex numbers. */
@inline
export function realPart(ar: v128, ai: v128, br: v128, bi: v128): v128 {
  return nmadd(ai, bi, f32x4.mul(ar, br));
}

/** The imaginary part. */
@inline
export function imaginaryPart(ar: v128, ai: v128, br: v128, bi: v128): v128 {
  return madd(ar, bi, f32x4.mul(ai, br));
}

/** A factor, and the one `at` bytes after the first. */
@inline
function factor(kind: i32, twiddles: usize, at: usize): v128 {
  return kind == PLAIN ? f32x4.splat(0) : v128.load32_splat(twiddles + at);
}

@inline
function put(kind: i32, to: usize, plane: usize, re: v128, im: v128, wr: v128, wi: v128): void {
  v128.store(to, kind == AFTER ? realPart(re, im, wr, wi) : re);
  v128.store(to + plane, kind == AFTER ? imaginaryPart(re, im, wr, wi) : im);
}

/** `kind` is a constant. */
@inline
function two(kind: i32, at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  const wr = factor(kind, twiddles, 0);
  const wi = factor(kind, twiddles, 4);
  for (; lanes > 0; lanes--, at += laneStep) {
    const next = at + apart;
    const ar = v128.load(at);
    const ai = v128.load(at + plane);
    const xr = v128.load(next);
    const xi = v128.load(next + plane);
    const br = kind == BEFORE ? realPart(xr, xi, wr, wi) : xr;
    const bi = kind == BEFORE ? imaginaryPart(xr, xi, wr, wi) : xi;
    v128.store(at, f32x4.add(ar, br));
    v128.store(at + plane, f32x4.add(ai, bi));
    put(kind, next, plane, f32x4.sub(ar, br), f32x4.sub(ai, bi), wr, wi);
  }
}

@inline
function three(kind: i32, at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  const ur = factor(kind, twiddles, 0);
  const ui = factor(kind, twiddles, 4);
  const vr = factor(kind, twiddles, 8);
  const vi = factor(kind, twiddles, 12);
  const half = f32x4.splat(0.5);
  const sine = f32x4.splat(0.86602540378443865);
  for (; lanes > 0; lanes--, at += laneStep) {
    const second = at + apart;
    const third = second + apart;
    const ar = v128.load(at);
    const ai = v128.load(at + plane);
    const xr = v128.load(second);
    const xi = v128.load(second + plane);
    const yr = v128.load(third);
    const yi = v128.load(third + plane);
    const br = kind == BEFORE ? realPart(xr, xi, ur, ui) : xr;
    const bi = kind == BEFORE ? imaginaryPart(xr, xi, ur, ui) : xi;
    const cr = kind == BEFORE ? realPart(yr, yi, vr, vi) : yr;
    const ci = kind == BEFORE ? imaginaryPart(yr, yi, vr, vi) : yi;
    const sumR = f32x4.add(br, cr);
    const sumI = f32x4.add(bi, ci);
    v128.store(at, f32x4.add(ar, sumR));
    v128.store(at + plane, f32x4.add(ai, sumI));
    const midR = nmadd(sumR, half, ar);
    const midI = nmadd(sumI, half, ai);
    const difR = f32x4.sub(br, cr);
    const difI = f32x4.sub(bi, ci);
    put(kind, second, plane, madd(difI, sine, midR), nmadd(difR, sine, midI), ur, ui);
    put(kind, third, plane, nmadd(difI, sine, midR), madd(difR, sine, midI), vr, vi);
  }
}

@inline
function four(kind: i32, at: usize, plane: usize, apart: usize, lanes: i32, laneStep: usize, twiddles: usize): void {
  const ur = factor(kind, twiddles, 0);
  const ui = factor(kind, twiddles, 4);
  const vr = factor(kind, twiddles, 8);
  const vi = factor(kind, twiddles, 12);
  const wr = factor(kind, twiddles, 16);
  const wi = factor(kind, twiddles, 20);
  for (; lanes > 0; lanes--, at += laneStep) {
    const second = at + apart;
    const third = second + apart;
    const fourth = third + apart;
    const ar = v128.load(at);
    const ai = v128.load(at + plane);
    const xr = v128.load(third);
    const xi = v128.load(third + plane);
    const cr = kind == BEFORE ? realPart(xr, xi, vr, vi) : xr;
    const ci = kind == BEFORE ? imaginaryPart(xr, xi, vr, vi) : xi;
    const evenR = f32x4.add(ar, cr);
    const evenI = f32x4.add(ai, ci);
    const difR = f32x4.sub(ar, cr);
    const difI = f32x4.sub(ai, ci);
    const yr = v128.load(second);
    const yi = v128.load(second + plane);
    const br = kind == BEFORE ? realPart(yr, yi, ur, ui) : yr;
    const bi = kind == BEFORE ? imaginaryPart(yr, yi, ur, ui) : yi;
    const zr = v128.load(fourth);
    const zi = v128.load(fourth + plane);
    const dr = kind == BEFORE ? realPart(zr, zi, wr, wi) : zr;
    const di = kind == BEFORE ? imaginaryPart(zr, zi, wr, wi) : zi;
    const oddR = f32x4.add(br, dr);
    const oddI = f32x4.add(bi, di);
    v128.store(at, f32x4.add(evenR, oddR));
    v128.store(at + plane, f32x4.add(evenI, oddI));
    put(kind, third, plane, f32x4.sub(evenR, oddR), f32x4.sub(evenI, oddI), vr, vi);
    const sideR = f32x4.sub(br, dr);
    const sideI = f32x4.sub(bi, di);
    put(kind, second, plane, f32x4.add(difR, sideI), f32x4.sub(difI, sideR), ur, ui);
    put(kind, fourth, plane, f32x4.sub(difR, sideI), f32x4.add(difI, sideR), wr, wi);
  }
}
