/** Choices of one entry of a bank for each row, and powers of rows that keep their length; tasks are runs of rows. */
import { exp, log } from '../../runtime/wasm/assembly/functions.as';
import { exp as expOf } from '../../runtime/wasm/assembly/scalar.as';
import { dot, largestLane, madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { FocusBackwardParams, FocusParams, ROWS, Route, RouteBackwardParams, RouteParams } from './params.generated.as';

/** The columns of the router as rows. */
export function routeColumns(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Route>(params);
  const choices = p.choices;
  let to = p.columns;
  for (let u: i32 = 0; u < choices; u++) {
    for (let c: i32 = 0; c < p.width + p.more; c++, to += 4) f32.store(to, f32.load(p.router + (<usize>(c * choices + u) << 2)));
  }
}

export function route(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RouteParams>(params);
  const last = min((task + 1) * ROWS, p.route.rows);
  for (let r = task * ROWS; r < last; r++) {
    let choice: i32 = 0;
    let most = logitOf(p.route, r, 0);
    for (let u: i32 = 1; u < p.route.choices; u++) {
      const logit = logitOf(p.route, r, u);
      if (logit > most) {
        most = logit;
        choice = u;
      }
    }
    f32.store(p.out + (<usize>r << 2), f32.load(p.route.bank + (<usize>choice << 2)));
  }
}

function logitOf(p: Route, row: i32, u: i32): f32 {
  const bytes = <usize>p.width << 2;
  const rest = <usize>p.more << 2;
  const column = p.columns + <usize>u * (bytes + rest);
  const product = dot(p.x + <usize>row * bytes, column, bytes);
  return rest == 0 ? product : product + dot(p.y + <usize>row * rest, column + bytes, rest);
}

/**
 * As if the choice were the softmax of the logits: to these p_u (bank_u - sum_j p_j bank_j) gradOut, and from these to x and
 * y.
 */
export function routeRows(params: usize, task: i32, scratch: usize): void {
  const f = changetype<RouteBackwardParams>(params);
  const p = f.route;
  const choices = p.choices;
  const bytes = <usize>p.width << 2;
  const rest = <usize>p.more << 2;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const row = <usize>r;
    const logits = f.gradLogits + ((row * <usize>choices) << 2);
    for (let u: i32 = 0; u < choices; u++) f32.store(logits + (<usize>u << 2), logitOf(p, r, u));
    const choice = largestOf(logits, choices);
    i32.store(f.chosen + (row << 2), choice);
    const largest = f32.load(logits + (<usize>choice << 2));
    let sum: f64 = 0;
    let mean: f64 = 0;
    for (let u: i32 = 0; u < choices; u++) {
      const weight = expOf(<f64>f32.load(logits + (<usize>u << 2)) - <f64>largest);
      sum += weight;
      mean += weight * <f64>f32.load(p.bank + (<usize>u << 2));
    }
    mean /= sum;
    const factor = <f64>f32.load(f.gradOut + (row << 2)) / sum;
    memory.fill(f.gradX + row * bytes, 0, bytes);
    memory.fill(f.gradY + row * rest, 0, rest);
    for (let u: i32 = 0; u < choices; u++) {
      const at = logits + (<usize>u << 2);
      const weight = expOf(<f64>f32.load(at) - <f64>largest);
      const gradLogit = <f32>(weight * factor * (<f64>f32.load(p.bank + (<usize>u << 2)) - mean));
      f32.store(at, gradLogit);
      const column = p.columns + <usize>u * (bytes + rest);
      addScaled(f.gradX + row * bytes, column, gradLogit, bytes);
      addScaled(f.gradY + row * rest, column + bytes, gradLogit, rest);
    }
  }
}

/** Sums over all rows; a task is an entry of the bank, and a column of the router, which nobody needs any longer. */
export function routeSums(params: usize, task: i32, scratch: usize): void {
  const f = changetype<RouteBackwardParams>(params);
  const p = f.route;
  const choices = <usize>p.choices;
  const bytes = <usize>p.width << 2;
  const rest = <usize>p.more << 2;
  const column = p.columns + <usize>task * (bytes + rest);
  memory.fill(column, 0, bytes + rest);
  let sum: f64 = 0;
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    if (i32.load(f.chosen + (row << 2)) == task) sum += <f64>f32.load(f.gradOut + (row << 2));
    const gradLogit = f32.load(f.gradLogits + ((row * choices + <usize>task) << 2));
    addScaled(column, p.x + row * bytes, gradLogit, bytes);
    addScaled(column + bytes, p.y + row * rest, gradLogit, rest);
  }
  f32.store(f.gradBank + (<usize>task << 2), <f32>sum);
  for (let c: usize = 0; c < <usize>(p.width + p.more); c++)
    f32.store(f.gradRouter + ((c * choices + <usize>task) << 2), f32.load(column + (c << 2)));
}

/** The place of the largest, the first of equal ones. */
function largestOf(values: usize, count: i32): i32 {
  let place: i32 = 0;
  for (let u: i32 = 1; u < count; u++) {
    if (f32.load(values + (<usize>u << 2)) > f32.load(values + (<usize>place << 2))) place = u;
  }
  return place;
}

/** to += factor x. */
function addScaled(to: usize, x: usize, factor: f32, bytes: usize): void {
  const factors = f32x4.splat(factor);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(to + at, madd(factors, v128.load(x + at), v128.load(to + at)));
  for (; at < bytes; at += 4) f32.store(to + at, f32.load(to + at) + factor * f32.load(x + at));
}

/** The exponent is at least 1. */
@inline
function exponentOf(exponents: usize, row: i32): f32 {
  return max(1, f32.load(exponents + (<usize>row << 2)));
}

/** relu(x)^g, of the length of relu(x). */
export function focus(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FocusParams>(params);
  const bytes = <usize>p.columns << 2;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const x = p.x + <usize>r * bytes;
    const out = p.out + <usize>r * bytes;
    const largest = powers(x, exponentOf(p.exponents, r), out, bytes);
    if (largest == 0) continue;
    scale(out, largest * <f32>sqrt(<f64>squaresOver(x, largest, bytes) / <f64>dot(out, out, bytes)), bytes);
  }
}

/**
 * With u = relu(x) / max, t = u^g, s = |t|, Y = |relu(x)|, a = t gradOut and c = gradOut - t a / s^2:
 * gradX = g Y / s c u^(g - 1) / max + a / s relu(x) / Y, and the gradient with respect to g is Y / s (c t) log u.
 */
export function focusBackward(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FocusBackwardParams>(params);
  const columns = <usize>p.columns;
  const bytes = columns << 2;
  const last = min((task + 1) * ROWS, p.rows);
  const zero = f32x4.splat(0);
  for (let r = task * ROWS; r < last; r++) {
    const x = p.x + <usize>r * bytes;
    const gradOut = p.gradOut + <usize>r * bytes;
    const gradX = p.gradX + <usize>r * bytes;
    const exponent = exponentOf(p.exponents, r);
    const largest = powers(x, exponent, gradX, bytes);
    let gradExponent: f32 = 0;
    if (largest != 0) {
      const ofPowers = <f64>dot(gradX, gradX, bytes);
      const ofX = <f64>squaresOver(x, largest, bytes);
      const inner = <f64>dot(gradX, gradOut, bytes);
      const ratio = f32x4.splat(<f32>(<f64>largest * sqrt(ofX / ofPowers)));
      const shift = f32x4.splat(<f32>(-inner / ofPowers));
      // a / s over Y, for relu(x) = max u.
      const along = f32x4.splat(<f32>(inner / sqrt(ofPowers * ofX)));
      const inverse = f32x4.splat(1 / largest);
      const g = f32x4.splat(exponent);
      let sums = zero;
      for (let at: usize = 0; at < bytes; at += 16) {
        // The last vector may hold fewer numbers.
        const whole = at + 16 <= bytes;
        const count = whole ? 4 : <i32>((bytes - at) >> 2);
        const t = loadUpTo(gradX + at, count);
        const u = f32x4.mul(f32x4.max(loadUpTo(x + at, count), zero), inverse);
        const positive = f32x4.gt(u, zero);
        const c = f32x4.mul(ratio, madd(t, shift, loadUpTo(gradOut + at, count)));
        const logarithm = v128.and(log(u), positive);
        sums = madd(f32x4.mul(c, t), logarithm, sums);
        const slope = f32x4.mul(f32x4.mul(g, exp(f32x4.mul(f32x4.sub(g, f32x4.splat(1)), logarithm))), inverse);
        const grad = v128.and(madd(c, slope, f32x4.mul(along, u)), positive);
        if (whole) v128.store(gradX + at, grad);
        else storeUpTo(gradX + at, grad, count);
      }
      gradExponent = sumOfLanes(sums);
    }
    if (f32.load(p.exponents + (<usize>r << 2)) < 1) gradExponent = 0;
    f32.store(p.gradExponents + (<usize>r << 2), gradExponent);
  }
}

/** (relu(x) / max)^g, whose largest is 1; zeros where none is positive. Returns the maximum of relu(x). */
function powers(x: usize, exponent: f32, to: usize, bytes: usize): f32 {
  const zero = f32x4.splat(0);
  let most = zero;
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) most = f32x4.max(most, v128.load(x + at));
  for (; at < bytes; at += 4) most = f32x4.max(most, v128.load32_splat(x + at));
  const largest = largestLane(most);
  if (largest == 0) {
    memory.fill(to, 0, bytes);
    return 0;
  }
  const inverse = f32x4.splat(1 / largest);
  const g = f32x4.splat(exponent);
  for (at = 0; at < bytes; at += 16) {
    const whole = at + 16 <= bytes;
    const count = whole ? 4 : <i32>((bytes - at) >> 2);
    const u = f32x4.mul(f32x4.max(loadUpTo(x + at, count), zero), inverse);
    const t = exponent == 1 ? u : v128.and(exp(f32x4.mul(g, log(u))), f32x4.gt(u, zero));
    if (whole) v128.store(to + at, t);
    else storeUpTo(to + at, t, count);
  }
  return largest;
}

/** The sum of the squares of relu(x) / max. */
function squaresOver(x: usize, largest: f32, bytes: usize): f32 {
  const zero = f32x4.splat(0);
  const inverse = f32x4.splat(1 / largest);
  let sums = zero;
  for (let at: usize = 0; at < bytes; at += 16) {
    const count = at + 16 <= bytes ? 4 : <i32>((bytes - at) >> 2);
    const u = f32x4.mul(f32x4.max(loadUpTo(x + at, count), zero), inverse);
    sums = madd(u, u, sums);
  }
  return sumOfLanes(sums);
}

function scale(x: usize, factor: f32, bytes: usize): void {
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(x + at, f32x4.mul(v128.load(x + at), f32x4.splat(factor)));
  for (; at < bytes; at += 4) f32.store(x + at, f32.load(x + at) * factor);
}

/** The first `count` numbers at `from`, zeros after them. */
@inline
function loadUpTo(from: usize, count: i32): v128 {
  if (count == 4) return v128.load(from);
  let x = v128.load32_zero(from);
  if (count > 1) x = v128.load32_lane(from + 4, x, 1);
  if (count > 2) x = v128.load32_lane(from + 8, x, 2);
  return x;
}

@inline
function storeUpTo(to: usize, x: v128, count: i32): void {
  v128.store32_lane(to, x, 0);
  if (count > 1) v128.store32_lane(to + 4, x, 1);
  if (count > 2) v128.store32_lane(to + 8, x, 2);
}
