/** Normalised groups of rows, and the gradients; a task is some groups of the rows of a part, one or all. */
import { sumOf } from '../../runtime/wasm/assembly/rows.as';
import { dot, get, madd, put, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { NormParams } from './params.generated.as';

/** Groups with sums of squares above, or mean squares below, are scaled first: float32 might not hold these, nor a gradient. */
const MOST: f64 = 1.2676506002282294e30; // 2^100
const LEAST: f64 = 7.888609052210118e-31; // 2^-100
/** The largest elements then become up to 2^32; of those to be raised, up to 2^46 times the root of the count. */
const LOWER: f32 = 1.262177448353619e-29; // 2^-96
const RAISE: f32 = 7.922816251426434e28; // 2^96

/** The statistics of the group that a thread is at. */
let mean: f32 = 0;
let root: f64 = 0;
let factor: f64 = 0;
/** What the elements were multiplied by before, if they were. */
let scale: f32 = 1;
/** What `sumAround` finds beside its sum. */
let squaresAround: f32 = 0;

export function norm(params: usize, task: i32, scratch: usize): void {
  const p = changetype<NormParams>(params);
  const bytes = p.columns << 2;
  const pitch = p.groups * bytes;
  const most = p.groupsOfTask;
  const tasks = <i32>p.groups / most;
  const firstGroup = <usize>((task % tasks) * most) * bytes;
  const pastGroup = firstGroup + <usize>most * bytes;
  const first = (task / tasks) * p.rowsOfPart;
  const last = min(first + p.rowsOfPart, p.rows);
  for (let r = first; r < last; r++) {
    const row = <usize>r * p.runs * pitch;
    for (let group = firstGroup; group < pastGroup; group += bytes) normaliseGroup(p, row, group, pitch, bytes);
  }
}

function normaliseGroup(p: NormParams, row: usize, group: usize, pitch: usize, bytes: usize): void {
  const gain = p.gain == 0 ? 0 : p.gain + group;
  const bias = p.bias == 0 ? 0 : p.bias + group;
  const start = row + group;
  let x = p.x;
  if (!measure(p, x + start, pitch, p.epsilon, p.offset)) x = measureScaled(p, start, p.out, pitch, bytes);
  for (let run: usize = 0; run < p.runs; run++) {
    const at = start + run * pitch;
    normalise(x + at, gain, bias, p.out + at, bytes);
  }
}

/**
 * Measures a group again whose squares leave float32, its elements times a power of two, which are written to where its result
 * will be; returns in which tensor it is to be read: `out`, or x where nothing helps.
 */
function measureScaled(p: NormParams, start: usize, out: usize, pitch: usize, bytes: usize): usize {
  const isSmall = root < 1;
  // Equal elements that are not small have no squares around their mean.
  if (isSmall && abs(mean) >= 1) return p.x;
  scale = isSmall ? RAISE : LOWER;
  const end = start + p.runs * pitch;
  for (let run = start; run < end; run += pitch) multiply(p.x + run, out + run, bytes);
  measure(p, out + start, pitch, p.epsilon * scale * scale, p.offset * scale);
  return out;
}

function multiply(x: usize, out: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 4) f32.store(out + at, f32.load(x + at) * scale);
}

function normalise(x: usize, gain: usize, bias: usize, out: usize, bytes: usize): void {
  if (gain == 0 && bias == 0) normaliseBy(false, false, x, gain, bias, out, bytes);
  else if (bias == 0) normaliseBy(true, false, x, gain, bias, out, bytes);
  else if (gain == 0) normaliseBy(false, true, x, gain, bias, out, bytes);
  else normaliseBy(true, true, x, gain, bias, out, bytes);
}

@inline
function normaliseBy(
  hasGain: bool,
  hasBias: bool,
  x: usize,
  gain: usize,
  bias: usize,
  out: usize,
  bytes: usize,
): void {
  const mean4 = f32x4.splat(mean);
  const factor4 = f32x4.splat(<f32>factor);
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    affine(hasGain, hasBias, x + at, gain + at, bias + at, out + at, mean4, factor4, true);
    affine(hasGain, hasBias, x + at + 16, gain + at + 16, bias + at + 16, out + at + 16, mean4, factor4, true);
  }
  for (; at < bytes; at += 4) affine(hasGain, hasBias, x + at, gain + at, bias + at, out + at, mean4, factor4, false);
}

@inline
function affine(
  hasGain: bool,
  hasBias: bool,
  x: usize,
  gain: usize,
  bias: usize,
  out: usize,
  mean: v128,
  factor: v128,
  whole: bool,
): void {
  let y = f32x4.mul(f32x4.sub(get(x, whole), mean), factor);
  if (hasGain && hasBias) y = madd(y, get(gain, whole), get(bias, whole));
  else if (hasGain) y = f32x4.mul(y, get(gain, whole));
  else if (hasBias) y = f32x4.add(y, get(bias, whole));
  put(out, y, whole);
}

export function normGradient(params: usize, task: i32, scratch: usize): void {
  const p = changetype<NormParams>(params);
  const bytes = p.columns << 2;
  const pitch = p.groups * bytes;
  const most = p.groupsOfTask;
  const tasks = <i32>p.groups / most;
  const part = task / tasks;
  const firstGroup = <usize>((task % tasks) * most) * bytes;
  const pastGroup = firstGroup + <usize>most * bytes;
  const own = <usize>part * pitch;
  if (p.gains != 0) memory.fill(p.gains + own + firstGroup, 0, pastGroup - firstGroup);
  if (p.biases != 0) memory.fill(p.biases + own + firstGroup, 0, pastGroup - firstGroup);
  const last = min((part + 1) * p.rowsOfPart, p.rows);
  for (let r = part * p.rowsOfPart; r < last; r++) {
    const row = <usize>r * p.runs * pitch;
    for (let group = firstGroup; group < pastGroup; group += bytes) pullGroup(p, row, group, own, pitch, bytes);
  }
}

/** The gradients of a group of a row, of which those by gains and biases are added to the part's `own`. */
function pullGroup(p: NormParams, row: usize, group: usize, own: usize, pitch: usize, bytes: usize): void {
  const gain = p.gain == 0 ? 0 : p.gain + group;
  const gains = p.gains == 0 ? 0 : p.gains + own + group;
  const biases = p.biases == 0 ? 0 : p.biases + own + group;
  const count = <f64>(p.runs * p.columns);
  const start = row + group;
  let from = p.x;
  if (!measure(p, from + start, pitch, p.epsilon, p.offset)) from = measureScaled(p, start, p.gradX, pitch, bytes);
  let total: f64 = 0;
  let inner: f64 = 0;
  for (let run: usize = 0; run < p.runs; run++) {
    const x = from + start + run * pitch;
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
    const x = from + start + run * pitch;
    const gradOut = p.gradOut + start + run * pitch;
    const gradX = p.gradX + start + run * pitch;
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) pull(x, gradOut, gain, gradX, gains, biases, along, shift, at, true);
    for (; at < bytes; at += 4) pull(x, gradOut, gain, gradX, gains, biases, along, shift, at, false);
    if (from != p.x) multiply(gradX, gradX, bytes);
  }
}

/** The gradient with respect to what gains multiply. */
@inline
function straightOf(gradOut: usize, gain: usize, at: usize, whole: bool): v128 {
  const grad = get(gradOut + at, whole);
  return gain == 0 ? grad : f32x4.mul(grad, get(gain + at, whole));
}

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

/**
 * Finds mean, root and factor of the group whose first run lies at x, and the next ones `pitch` bytes apart; returns whether
 * float32 holds its squares.
 */
function measure(p: NormParams, x: usize, pitch: usize, epsilon: f64, offset: f64): bool {
  const count = <f64>(p.runs * p.columns);
  const bytes = p.columns << 2;
  const end = x + p.runs * pitch;
  let squares: f64 = 0;
  mean = 0;
  if (p.centred) {
    let sum: f64 = 0;
    for (let run = x; run < end; run += pitch) sum += <f64>sumOf(run, bytes);
    mean = <f32>(sum / count);
    // Its own rounding is found beside the squares, so that equal elements become zeros.
    let rest: f64 = 0;
    for (let run = x; run < end; run += pitch) {
      rest += <f64>sumAround(run, bytes, mean);
      squares += <f64>squaresAround;
    }
    rest /= count;
    mean += <f32>rest;
    squares = max(squares - rest * rest * count, 0);
  } else {
    for (let run = x; run < end; run += pitch) squares += <f64>dot(run, run, bytes);
  }
  const square = squares / count + epsilon;
  root = sqrt(square);
  const divisor = root + offset;
  factor = divisor > 0 ? 1 / divisor : divisor == divisor ? 0 : NaN;
  return squares < MOST && square >= LEAST;
}

/** Sum of x - shift, and beside it that of the squares. */
function sumAround(x: usize, bytes: usize, shift: f32): f32 {
  const shift4 = f32x4.splat(shift);
  let sums = f32x4.splat(0);
  let others = sums;
  let squares = sums;
  let otherSquares = sums;
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const a = f32x4.sub(v128.load(x + at), shift4);
    const b = f32x4.sub(v128.load(x + at, 16), shift4);
    sums = f32x4.add(sums, a);
    others = f32x4.add(others, b);
    squares = madd(a, a, squares);
    otherSquares = madd(b, b, otherSquares);
  }
  let sum = sumOfLanes(f32x4.add(sums, others));
  squaresAround = sumOfLanes(f32x4.add(squares, otherSquares));
  for (; at < bytes; at += 4) {
    const y = f32.load(x + at) - shift;
    sum += y;
    squaresAround += y * y;
  }
  return sum;
}
