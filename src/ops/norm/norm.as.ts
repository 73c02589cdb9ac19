/** Normalised groups of rows, and the gradients; a task is one group of the rows of a part. */
import { get, madd, put, sumAround, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { NormParams } from './params.generated.as';

/** Of the group that a thread is at. */
let mean: f32 = 0;
let root: f64 = 0;
let factor: f64 = 0;

export function norm(params: usize, task: i32, scratch: usize): void {
  const p = changetype<NormParams>(params);
  const bytes = p.columns << 2;
  const pitch = p.groups * bytes;
  const group = (<usize>task % p.groups) * bytes;
  const gain = p.gain == 0 ? 0 : p.gain + group;
  const bias = p.bias == 0 ? 0 : p.bias + group;
  const first = (task / <i32>p.groups) * p.rowsOfPart;
  const last = min(first + p.rowsOfPart, p.rows);
  for (let r = first; r < last; r++) {
    const start = <usize>r * p.runs * pitch + group;
    measure(p, p.x + start, pitch);
    for (let run: usize = 0; run < p.runs; run++) {
      const x = p.x + start + run * pitch;
      const out = p.out + start + run * pitch;
      let at: usize = 0;
      for (; at + 16 <= bytes; at += 16) normalise(x, gain, bias, out, at, true);
      for (; at < bytes; at += 4) normalise(x, gain, bias, out, at, false);
    }
  }
}

// @ts-ignore: decorator
@inline
function normalise(x: usize, gain: usize, bias: usize, out: usize, at: usize, whole: bool): void {
  let y = f32x4.mul(f32x4.sub(get(x + at, whole), f32x4.splat(mean)), f32x4.splat(<f32>factor));
  if (gain != 0) y = f32x4.mul(y, get(gain + at, whole));
  if (bias != 0) y = f32x4.add(y, get(bias + at, whole));
  put(out + at, y, whole);
}

export function normGradient(params: usize, task: i32, scratch: usize): void {
  const p = changetype<NormParams>(params);
  const bytes = p.columns << 2;
  const pitch = p.groups * bytes;
  const group = (<usize>task % p.groups) * bytes;
  const part = task / <i32>p.groups;
  const gain = p.gain == 0 ? 0 : p.gain + group;
  const gains = p.gains == 0 ? 0 : p.gains + <usize>part * pitch + group;
  const biases = p.biases == 0 ? 0 : p.biases + <usize>part * pitch + group;
  if (gains != 0) memory.fill(gains, 0, bytes);
  if (biases != 0) memory.fill(biases, 0, bytes);
  const count = <f64>(p.runs * p.columns);
  const last = min((part + 1) * p.rowsOfPart, p.rows);
  for (let r = part * p.rowsOfPart; r < last; r++) {
    const start = <usize>r * p.runs * pitch + group;
    measure(p, p.x + start, pitch);
    let total: f64 = 0;
    let inner: f64 = 0;
    for (let run: usize = 0; run < p.runs; run++) {
      const x = p.x + start + run * pitch;
      const gradOut = p.gradOut + start + run * pitch;
      let totals = f32x4.splat(0);
      let inners = f32x4.splat(0);
      let at: usize = 0;
      for (; at + 16 <= bytes; at += 16) {
        const straight = straightOf(gradOut, gain, at, true);
        totals = f32x4.add(totals, straight);
        inners = madd(straight, f32x4.sub(get(x + at, true), f32x4.splat(mean)), inners);
      }
      for (; at < bytes; at += 4) {
        const straight = straightOf(gradOut, gain, at, false);
        totals = f32x4.add(totals, straight);
        inners = madd(straight, f32x4.sub(get(x + at, false), f32x4.splat(mean)), inners);
      }
      total += <f64>sumOfLanes(totals);
      inner += <f64>sumOfLanes(inners);
    }
    const along = root > 0 ? <f32>((inner * factor * factor) / (count * root)) : 0;
    const shift = p.centred ? <f32>((total * factor) / count) : 0;
    for (let run: usize = 0; run < p.runs; run++) {
      const x = p.x + start + run * pitch;
      const gradOut = p.gradOut + start + run * pitch;
      const gradX = p.gradX + start + run * pitch;
      let at: usize = 0;
      for (; at + 16 <= bytes; at += 16) pull(x, gradOut, gain, gradX, gains, biases, along, shift, at, true);
      for (; at < bytes; at += 4) pull(x, gradOut, gain, gradX, gains, biases, along, shift, at, false);
    }
  }
}

/** The gradient with respect to what gains multiply. */
// @ts-ignore: decorator
@inline
function straightOf(gradOut: usize, gain: usize, at: usize, whole: bool): v128 {
  const grad = get(gradOut + at, whole);
  return gain == 0 ? grad : f32x4.mul(grad, get(gain + at, whole));
}

// @ts-ignore: decorator
@inline
function pull(
  x: usize,
  gradOut: usize,
  gain: usize,
  gradX: usize,
  gains: usize,
  biases: usize,
  along: f32,
  shift: f32,
  at: usize,
  whole: bool,
): void {
  const centred = f32x4.sub(get(x + at, whole), f32x4.splat(mean));
  const straight = madd(straightOf(gradOut, gain, at, whole), f32x4.splat(<f32>factor), f32x4.splat(-shift));
  put(gradX + at, f32x4.sub(straight, f32x4.mul(centred, f32x4.splat(along))), whole);
  const grad = get(gradOut + at, whole);
  if (gains != 0) {
    const normal = f32x4.mul(centred, f32x4.splat(<f32>factor));
    put(gains + at, madd(grad, normal, get(gains + at, whole)), whole);
  }
  if (biases != 0) put(biases + at, f32x4.add(grad, get(biases + at, whole)), whole);
}

/** Finds mean, root and factor of the group whose first run lies at x, and the next ones `pitch` bytes apart. */
function measure(p: NormParams, x: usize, pitch: usize): void {
  const count = <f64>(p.runs * p.columns);
  mean = 0;
  if (p.centred) {
    // The rounding of the first sum is found by the second, so that equal elements become zeros.
    mean = <f32>(sumOfRuns(p, x, pitch, false) / count);
    mean += <f32>(sumOfRuns(p, x, pitch, false) / count);
  }
  root = sqrt(sumOfRuns(p, x, pitch, true) / count + p.epsilon);
  const divisor = root + p.offset;
  factor = divisor > 0 ? 1 / divisor : divisor == divisor ? 0 : NaN;
}

/** Sum of what the elements are above the mean found so far, or of its square. */
function sumOfRuns(p: NormParams, x: usize, pitch: usize, squared: bool): f64 {
  let sum: f64 = 0;
  for (let run: usize = 0; run < p.runs; run++) sum += <f64>sumAround(x + run * pitch, p.columns, mean, squared);
  return sum;
}
