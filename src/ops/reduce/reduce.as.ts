/**
 * Reductions of [outer, n, inner] over n. A unit is some rows of a block of columns. Each column has a state: a value and,
 * of some operations, a number beside it, a sum of exponentials or the row of the value. Narrow rows are taken several
 * side by side, each with states of its own, which are joined by halves.
 */
import { exp, log } from '../../runtime/wasm/assembly/functions.as';
import { weight } from '../../runtime/wasm/assembly/rows.as';
import { get, larger, largestLane, put, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import {
  ARGMAX,
  COLUMNS,
  LOG_SUM_EXP,
  MAX,
  MEAN,
  ReduceParams,
  SUM,
} from './params.generated.as';

/** Bytes of the values; as many are beside them. */
const STATES: usize = <usize>COLUMNS << 2;

export const SCRATCH_BYTES: usize = 2 * STATES;

/** Narrow rows are put side by side up to so many columns. */
const SIDE_BY_SIDE: usize = 64;

const LOWEST: f32 = -3.4028234663852886e38;

export function reduce(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ReduceParams>(params);
  const last = min((task + 1) * p.together, p.units);
  for (let unit = task * p.together; unit < last; unit++) reduceUnit(p, <usize>unit, scratch);
}

function reduceUnit(p: ReduceParams, unit: usize, states: usize): void {
  const operation = p.operation;
  const inner = p.inner;
  const part = unit / p.blocks;
  const column = (unit % p.blocks) * <usize>COLUMNS;
  const columns = min(<usize>COLUMNS, inner - column);
  const first = (part % p.parts) * p.rows;
  const rows = min(p.rows, p.n - first);
  const x = p.x + ((((part / p.parts) * p.n + first) * inner + column) << 2);
  const at = part * inner + column;
  if (inner == 1 && (operation == SUM || operation == MEAN || operation == MAX)) {
    const value = operation == MAX ? largestOfRow(x, rows << 2) : sumOfRow(x, rows << 2);
    if (p.parts > 1) f32.store(p.values + (at << 2), value);
    else finish(p, at, value, 0);
    return;
  }
  let side: usize = 1;
  while (side * inner * 2 <= SIDE_BY_SIDE && side * 2 <= rows) side *= 2;
  begin(operation, states, (side * columns) << 2);
  // Each operation has loops of its own.
  const bytes = columns << 2;
  if (operation == MAX) takeRows(MAX, states, x, rows, side, inner << 2, bytes);
  else if (operation == LOG_SUM_EXP) takeRows(LOG_SUM_EXP, states, x, rows, side, inner << 2, bytes);
  else if (operation == ARGMAX) takeRows(ARGMAX, states, x, rows, side, inner << 2, bytes);
  else takeRows(SUM, states, x, rows, side, inner << 2, bytes);
  if (operation == ARGMAX) {
    // For rows: which of the runs side by side it came from.
    for (let i: usize = 0; i < side * columns; i++) {
      const place = states + STATES + (i << 2);
      i32.store(place, <i32>(first + <usize>i32.load(place) * side + i / columns));
    }
  }
  while (side > 1) {
    side /= 2;
    joinHalves(operation, states, (side * columns) << 2);
  }
  if (p.parts > 1) {
    memory.copy(p.values + (at << 2), states, columns << 2);
    memory.copy(p.besides + (at << 2), states + STATES, columns << 2);
  } else {
    for (let i: usize = 0; i < columns; i++) {
      const place = states + (i << 2);
      finish(p, at + i, f32.load(place), i32.load(place, STATES));
    }
  }
}

/** Eight sums, each of eight vectors at a time: none waits for the one before, and errors grow slowly. */
function sumOfRow(x: usize, bytes: usize): f32 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  let s5 = s0;
  let s6 = s0;
  let s7 = s0;
  let at: usize = 0;
  for (; at + 1024 <= bytes; at += 1024) {
    s0 = f32x4.add(s0, sumOfEight(x + at));
    s1 = f32x4.add(s1, sumOfEight(x + at + 128));
    s2 = f32x4.add(s2, sumOfEight(x + at + 256));
    s3 = f32x4.add(s3, sumOfEight(x + at + 384));
    s4 = f32x4.add(s4, sumOfEight(x + at + 512));
    s5 = f32x4.add(s5, sumOfEight(x + at + 640));
    s6 = f32x4.add(s6, sumOfEight(x + at + 768));
    s7 = f32x4.add(s7, sumOfEight(x + at + 896));
  }
  for (; at + 128 <= bytes; at += 128) s0 = f32x4.add(s0, sumOfEight(x + at));
  for (; at + 16 <= bytes; at += 16) s1 = f32x4.add(s1, v128.load(x + at));
  for (; at < bytes; at += 4) s2 = f32x4.add(s2, v128.load32_zero(x + at));
  const low = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
  const high = f32x4.add(f32x4.add(s4, s5), f32x4.add(s6, s7));
  return sumOfLanes(f32x4.add(low, high));
}

@inline
function sumOfEight(x: usize): v128 {
  return f32x4.add(sumOfFour(x), sumOfFour(x + 64));
}

@inline
function sumOfFour(x: usize): v128 {
  return f32x4.add(
    f32x4.add(v128.load(x), v128.load(x, 16)),
    f32x4.add(v128.load(x, 32), v128.load(x, 48)),
  );
}

/** NaN if there is one, which the machine's maximum may drop. */
function largestOfRow(x: usize, bytes: usize): f32 {
  let first = f32x4.splat(-Infinity);
  let second = first;
  let numbers = f32x4.eq(first, first);
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const a = v128.load(x + at);
    const b = v128.load(x + at, 16);
    first = larger(first, a);
    second = larger(second, b);
    numbers = v128.and(numbers, v128.and(f32x4.eq(a, a), f32x4.eq(b, b)));
  }
  for (; at < bytes; at += 4) {
    const a = v128.load32_splat(x + at);
    first = larger(first, a);
    numbers = v128.and(numbers, f32x4.eq(a, a));
  }
  return i32x4.all_true(numbers) ? largestLane(larger(first, second)) : NaN;
}

/** States of nothing. A shift of exponents is finite, lest that of -Infinity be NaN. */
function begin(operation: i32, states: usize, bytes: usize): void {
  const value: f32 = operation == MAX || operation == ARGMAX ? -Infinity : operation == LOG_SUM_EXP ? LOWEST : 0;
  for (let at = states; at < states + bytes; at += 16) {
    v128.store(at, f32x4.splat(value));
    v128.store(at, f32x4.splat(0), STATES);
  }
}

/** Takes rows of so many bytes, `step` apart, `side` at a time, into the states. */
@inline
function takeRows(
  operation: i32,
  states: usize,
  x: usize,
  rows: usize,
  side: usize,
  step: usize,
  bytes: usize,
): void {
  const runs = rows / side;
  const width = side * bytes;
  const down = side * step;
  let run: usize = 0;
  if (operation != ARGMAX) {
    for (; run + 4 <= runs; run += 4, x += down << 2) {
      let at: usize = 0;
      for (; at + 16 <= width; at += 16) takeFour(operation, states + at, x + at, down, true);
      for (; at < width; at += 4) takeFour(operation, states + at, x + at, down, false);
    }
  }
  for (; run <= runs; run++, x += down) {
    // The last has the rows that are left.
    const end = run < runs ? width : (rows % side) * bytes;
    let at: usize = 0;
    for (; at + 16 <= end; at += 16) takeOne(operation, states + at, x + at, <i32>run, true);
    for (; at < end; at += 4) takeOne(operation, states + at, x + at, <i32>run, false);
  }
}

/** Four elements, or one, of each of four runs. */
@inline
function takeFour(operation: i32, state: usize, x: usize, down: usize, whole: bool): void {
  const x0 = get(x, whole);
  const x1 = get(x + down, whole);
  const x2 = get(x + down * 2, whole);
  const x3 = get(x + down * 3, whole);
  const value = get(state, whole);
  if (operation == SUM) {
    put(state, f32x4.add(value, f32x4.add(f32x4.add(x0, x1), f32x4.add(x2, x3))), whole);
    return;
  }
  const largest = f32x4.max(f32x4.max(x0, x1), f32x4.max(x2, x3));
  if (operation == MAX) {
    put(state, f32x4.max(value, largest), whole);
    return;
  }
  const shift = f32x4.max(value, largest);
  const sum = f32x4.mul(get(state + STATES, whole), weight(value, shift));
  const low = f32x4.add(weight(x0, shift), weight(x1, shift));
  const high = f32x4.add(weight(x2, shift), weight(x3, shift));
  put(state, shift, whole);
  put(state + STATES, f32x4.add(sum, f32x4.add(low, high)), whole);
}

/** Four elements, or one, of a run. */
@inline
function takeOne(operation: i32, state: usize, x: usize, run: i32, whole: bool): void {
  const taken = get(x, whole);
  const value = get(state, whole);
  if (operation == SUM) {
    put(state, f32x4.add(value, taken), whole);
  } else if (operation == MAX) {
    put(state, f32x4.max(value, taken), whole);
  } else if (operation == LOG_SUM_EXP) {
    const shift = f32x4.max(value, taken);
    const sum = f32x4.mul(get(state + STATES, whole), weight(value, shift));
    put(state, shift, whole);
    put(state + STATES, f32x4.add(sum, weight(taken, shift)), whole);
  } else {
    const isTaken = beats(taken, value);
    put(state, v128.bitselect(taken, value, isTaken), whole);
    put(state + STATES, v128.bitselect(i32x4.splat(run), get(state + STATES, whole), isTaken), whole);
  }
}

/** Joins as many states as lie behind so many bytes to those before. */
function joinHalves(operation: i32, states: usize, bytes: usize): void {
  let at = states;
  const end = states + bytes;
  for (; at + 16 <= end; at += 16) join(operation, at, at + bytes, true);
  for (; at < end; at += 4) join(operation, at, at + bytes, false);
}

@inline
function join(operation: i32, to: usize, from: usize, whole: bool): void {
  const a = get(to, whole);
  const b = get(from, whole);
  if (operation == MAX) {
    put(to, f32x4.max(a, b), whole);
  } else if (operation == LOG_SUM_EXP) {
    const shift = f32x4.max(a, b);
    const sum = f32x4.mul(get(to + STATES, whole), weight(a, shift));
    const more = f32x4.mul(get(from + STATES, whole), weight(b, shift));
    put(to, shift, whole);
    put(to + STATES, f32x4.add(sum, more), whole);
  } else if (operation == ARGMAX) {
    const ofA = get(to + STATES, whole);
    const ofB = get(from + STATES, whole);
    const isTaken = v128.or(beats(b, a), v128.andnot(i32x4.lt_s(ofB, ofA), beats(a, b)));
    put(to, v128.bitselect(b, a, isTaken), whole);
    put(to + STATES, v128.bitselect(ofB, ofA, isTaken), whole);
  } else {
    put(to, f32x4.add(a, b), whole);
  }
}

/** Where x is larger than the largest so far, or the first NaN. */
@inline
function beats(x: v128, largest: v128): v128 {
  return v128.andnot(f32x4.eq(largest, largest), f32x4.le(x, largest));
}

/** Tasks are runs of results. */
export function joinParts(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ReduceParams>(params);
  const last = min((task + 1) * COLUMNS, p.outputs);
  for (let output = task * COLUMNS; output < last; output++) joinPartsOf(p, <usize>output);
}

function joinPartsOf(p: ReduceParams, output: usize): void {
  const operation = p.operation;
  const step = p.inner << 2;
  const first = ((output / p.inner) * p.parts * p.inner + (output % p.inner)) << 2;
  const end = first + p.parts * step;
  let value = f32.load(p.values + first);
  let beside = i32.load(p.besides + first);
  if (operation == SUM || operation == MEAN) {
    let sum: f64 = 0;
    for (let at = first; at < end; at += step) sum += f32.load(p.values + at);
    value = <f32>sum;
  } else if (operation == LOG_SUM_EXP) {
    for (let at = first; at < end; at += step) value = max(value, f32.load(p.values + at));
    let sum: f64 = 0;
    for (let at = first; at < end; at += step) {
      const factor = f32x4.extract_lane(exp(f32x4.splat(f32.load(p.values + at) - value)), 0);
      sum += <f64>f32.load(p.besides + at) * <f64>factor;
    }
    beside = reinterpret<i32>(<f32>sum);
  } else {
    for (let at = first; at < end; at += step) {
      const other = f32.load(p.values + at);
      if (value == value && !(other <= value)) {
        value = other;
        beside = i32.load(p.besides + at);
      }
    }
  }
  finish(p, output, value, beside);
}

@inline
function finish(p: ReduceParams, at: usize, value: f32, beside: i32): void {
  const operation = p.operation;
  const out = p.out + (at << 2);
  if (operation == ARGMAX) i32.store(out, beside);
  else if (operation == MEAN) f32.store(out, value / <f32>p.n);
  else if (operation == LOG_SUM_EXP && value != Infinity)
    f32.store(out, value + f32x4.extract_lane(log(f32x4.splat(reinterpret<f32>(beside))), 0));
  else f32.store(out, value);
}
