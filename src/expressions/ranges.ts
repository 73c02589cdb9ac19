/**
 * Interval arithmetic: what an expression can be over a box of queries and keys, without computing its elements.
 *
 * Rounding to nearest never reverses an order, so the bounds of sums and products, computed in float64, bound the
 * computed values. The functions that promise no such thing get a margin.
 */
import type { Expression, InputName, Table } from './expression';
import { OPERATIONS, type Operation } from './operations';
import { stepsOf } from './steps';

/** Every value is within [low, high], or NaN. Booleans are 0 and 1. */
export interface Range {
  readonly low: number;
  readonly high: number;
  /** Whether a value may be NaN. */
  readonly nan: boolean;
  /** Whether all values are integers, infinities aside. */
  readonly whole: boolean;
}

/** The ranges of the inputs. */
export type Box = Readonly<Record<InputName, Range>>;

const INFINITY = Number.POSITIVE_INFINITY;
const ANYTHING: Range = { low: -INFINITY, high: INFINITY, nan: true, whole: false };
const EITHER: Range = { low: 0, high: 1, nan: false, whole: true };
const INT32: Range = { low: -(2 ** 31), high: 2 ** 31 - 1, nan: false, whole: true };
const UINT32: Range = { low: 0, high: 2 ** 32 - 1, nan: false, whole: true };
/** Several units in the last place. */
const MARGIN = 2e-15;

/** The integers from low to high. */
export const integers = (low: number, high: number): Range => ({ low, high, nan: false, whole: true });

/** A score can be any number. */
export const anyScore: Range = ANYTHING;

/** The range of every step of an expression (steps.ts). */
export function rangesOf(expression: Expression, box: Box): readonly Range[] {
  const ranges: Range[] = [];
  for (const { node, args } of stepsOf(expression)) {
    if ('value' in node) ranges.push(exactly(node.value));
    else if ('name' in node) ranges.push(box[node.name]);
    else {
      const [x, y = x, z = x] = args.map((arg) => ranges[arg]) as [Range, Range, Range];
      ranges.push('table' in node ? ofElements(node.table, x) : RULES[node.operation](x, y, z));
    }
  }
  return ranges;
}

/** True or false where a boolean expression is that over all of the box; undefined where it may be either. */
export function decide(expression: Expression, box: Box): boolean | undefined {
  const { low, high } = rangesOf(expression, box).at(-1) as Range;
  return low === high ? low === 1 : undefined;
}

function exactly(value: number): Range {
  if (Number.isNaN(value)) return { low: INFINITY, high: -INFINITY, nan: true, whole: true };
  return { low: value, high: value, nan: false, whole: Number.isInteger(value) || Math.abs(value) === INFINITY };
}

/** From candidates for the bounds; where one is NaN, nothing is known. */
function spanning(candidates: readonly number[], nan: boolean, whole: boolean): Range {
  const low = Math.min(...candidates);
  const high = Math.max(...candidates);
  return Number.isNaN(low) ? { ...ANYTHING, whole } : { low, high, nan, whole };
}

function union(x: Range, y: Range): Range {
  return {
    low: Math.min(x.low, y.low),
    high: Math.max(x.high, y.high),
    nan: x.nan || y.nan,
    whole: x.whole && y.whole,
  };
}

const boolean = (never: boolean, always: boolean): Range => (never ? exactly(0) : always ? exactly(1) : EITHER);
/** Nothing but NaN. */
const isEmpty = (x: Range) => x.low > x.high;
const isPoint = (x: Range) => x.low === x.high && !x.nan;
const within = (x: Range, bounds: Range) => !x.nan && x.whole && x.low >= bounds.low && x.high <= bounds.high;
/** Whether its values are integers that 32 bits hold. */
export const isInt32 = (x: Range): boolean => within(x, INT32);

type Rule = (x: Range, y: Range, z: Range) => Range;

/** A function that never decreases. */
const monotone =
  (f: (value: number) => number, whole?: true, margin = 0): Rule =>
  (x) => {
    if (isEmpty(x)) return x;
    const [low, high] = [f(x.low), f(x.high)];
    return {
      low: low - Math.abs(low) * margin || low,
      high: high + Math.abs(high) * margin || high,
      nan: x.nan,
      whole: whole ?? false,
    };
  };

/** From the four corners; `whole` where both operands are. */
const corners =
  (f: (x: number, y: number) => number): Rule =>
  (x, y) => {
    if (isEmpty(x) || isEmpty(y)) return exactly(Number.NaN);
    const candidates = [f(x.low, y.low), f(x.low, y.high), f(x.high, y.low), f(x.high, y.high)];
    return spanning(candidates, x.nan || y.nan, x.whole && y.whole);
  };

/** Math.min and Math.max, of which one NaN makes another. */
const extreme =
  (f: (x: number, y: number) => number): Rule =>
  (x, y) => {
    if (isEmpty(x) || isEmpty(y)) return exactly(Number.NaN);
    return { low: f(x.low, y.low), high: f(x.high, y.high), nan: x.nan || y.nan, whole: x.whole && y.whole };
  };

/** Operations on bits: exact for two points, else by `rule` where both are non-negative. */
const bits =
  (operation: Operation, rule: (x: Range, y: Range) => Range): Rule =>
  (x, y) => {
    if (isPoint(x) && isPoint(y)) return exactly(compute(operation, x.low, y.low));
    return within(x, integers(0, INT32.high)) && within(y, integers(0, INT32.high)) ? rule(x, y) : INT32;
  };

/** Shifts by a constant: by `f` where the operand and the results are in `bounds`. */
const shift =
  (operation: Operation, bounds: Range, otherwise: Range): Rule =>
  (x, y) => {
    if (!isPoint(y)) return otherwise;
    const by = y.low & 31;
    if (operation === 'shiftRightUnsigned' && by > 0 && !within(x, bounds)) return integers(0, 2 ** (32 - by) - 1);
    if (!isInt32(x)) return otherwise;
    const fits = operation !== 'shiftLeft' || (x.low * 2 ** by >= INT32.low && x.high * 2 ** by <= INT32.high);
    if (!fits || !within(x, bounds)) return otherwise;
    return integers(compute(operation, x.low, y.low), compute(operation, x.high, y.low));
  };

/** The smallest 2^e - 1 that is no less. */
const ones = (x: number) => 2 ** Math.ceil(Math.log2(x + 1)) - 1;

const RULES: Readonly<Record<Operation, Rule>> = {
  add: corners((x, y) => x + y),
  subtract: corners((x, y) => x - y),
  multiply(x, y, z) {
    // 0 times infinity between the corners.
    const mixed = (a: Range, b: Range) => a.low <= 0 && a.high >= 0 && (b.low === -INFINITY || b.high === INFINITY);
    if (mixed(x, y) || mixed(y, x)) return { ...ANYTHING, whole: x.whole && y.whole };
    return corners((a, b) => a * b)(x, y, z);
  },
  divide(x, y, z) {
    if (y.low <= 0 && y.high >= 0) return ANYTHING;
    return { ...corners((a, b) => a / b)(x, y, z), whole: false };
  },
  remainder(x, y) {
    if (isEmpty(x) || isEmpty(y)) return exactly(Number.NaN);
    const whole = x.whole && y.whole;
    const nan = x.nan || y.nan || (y.low <= 0 && y.high >= 0) || x.low === -INFINITY || x.high === INFINITY;
    const size = Math.max(Math.abs(y.low), Math.abs(y.high));
    const sameSign = x.low >= 0 || x.high <= 0;
    const turns = (value: number) => Math.trunc(value / size);
    if (isPoint(y) && !nan && sameSign && turns(x.low) === turns(x.high)) {
      const [low, high] = [x.low % size, x.high % size];
      // The quotient may have been rounded up to the next turn.
      if (low <= high) return { low, high, nan, whole };
    }
    return { low: x.low < 0 ? -Math.min(size, -x.low) : 0, high: x.high > 0 ? Math.min(size, x.high) : 0, nan, whole };
  },
  power(x, y) {
    if (isEmpty(x) || isEmpty(y)) return ANYTHING;
    const whole = x.whole && y.whole && y.low >= 0;
    const positive = x.low > 0 && Number.isFinite(y.low) && Number.isFinite(y.high);
    if (!positive && !(isPoint(y) && Number.isInteger(y.low) && y.low > 0)) return { ...ANYTHING, whole };
    const candidates = [x.low ** y.low, x.low ** y.high, x.high ** y.low, x.high ** y.high];
    if (x.low < 0 && x.high > 0) candidates.push(0);
    const { low, high, nan } = spanning(candidates, x.nan || y.nan, whole);
    if (whole && Math.max(-low, high) < 2 ** 31) return { low, high, nan, whole };
    return { low: low - Math.abs(low) * MARGIN || low, high: high + Math.abs(high) * MARGIN || high, nan, whole };
  },
  min: extreme(Math.min),
  max: extreme(Math.max),
  negative: (x) => ({ ...x, low: -x.high, high: -x.low }),
  abs(x) {
    if (isEmpty(x)) return x;
    return {
      ...x,
      low: x.low <= 0 && x.high >= 0 ? 0 : Math.min(Math.abs(x.low), Math.abs(x.high)),
      high: Math.max(Math.abs(x.low), Math.abs(x.high)),
    };
  },
  floor: monotone(Math.floor, true),
  ceil: monotone(Math.ceil, true),
  trunc: monotone(Math.trunc, true),
  round: monotone(Math.round, true),
  sign: monotone(Math.sign, true),
  sqrt(x, y, z) {
    if (x.low < 0) return { low: 0, high: INFINITY, nan: true, whole: false };
    return monotone(Math.sqrt)(x, y, z);
  },
  exp: monotone(Math.exp, undefined, MARGIN),
  log(x, y, z) {
    if (x.low < 0) return ANYTHING;
    // Near 1 a relative margin is none.
    const { low, high, nan } = monotone(Math.log, undefined, MARGIN)(x, y, z);
    return { low: low - MARGIN, high: high + MARGIN, nan, whole: false };
  },
  tanh: monotone(Math.tanh, undefined, MARGIN),
  cos: (x) => ({ low: -1, high: 1, nan: x.nan || x.low === -INFINITY || x.high === INFINITY, whole: false }),
  sin: (x) => ({ low: -1, high: 1, nan: x.nan || x.low === -INFINITY || x.high === INFINITY, whole: false }),
  bitAnd: (x, y, z) => {
    if (isPoint(x) && isPoint(y)) return exactly(compute('bitAnd', x.low, y.low));
    // One that is not negative bounds the result.
    const limits = [x, y].filter((side) => within(side, integers(0, INT32.high))).map((side) => side.high);
    return limits.length > 0 ? integers(0, Math.min(...limits)) : bits('bitAnd', () => INT32)(x, y, z);
  },
  bitOr(x, y, z) {
    // The usual way to drop a fraction.
    if (isPoint(y) && y.low === 0 && !x.nan && x.low >= INT32.low && x.high <= INT32.high) {
      return integers(Math.trunc(x.low), Math.trunc(x.high));
    }
    return bits('bitOr', (a, b) => integers(Math.max(a.low, b.low), ones(Math.max(a.high, b.high))))(x, y, z);
  },
  bitXor: bits('bitXor', (x, y) => integers(0, ones(Math.max(x.high, y.high)))),
  bitNot: (x) => (isInt32(x) ? integers(-x.high - 1, -x.low - 1) : INT32),
  shiftLeft: shift('shiftLeft', INT32, INT32),
  shiftRight: shift('shiftRight', INT32, INT32),
  shiftRightUnsigned: shift('shiftRightUnsigned', integers(0, INT32.high), UINT32),
  less: (x, y) => boolean(!(x.low < y.high), x.high < y.low && !x.nan && !y.nan),
  lessOrEqual: (x, y) => boolean(!(x.low <= y.high), x.high <= y.low && !x.nan && !y.nan),
  equal: (x, y) => boolean(x.low > y.high || y.low > x.high, isPoint(x) && isPoint(y) && x.low === y.low),
  not: (x) => ({ ...x, low: 1 - x.high, high: 1 - x.low }),
  and: extreme(Math.min),
  or: extreme(Math.max),
  select: (x, y, z) => (x.low === 1 ? y : x.high === 0 ? z : union(y, z)),
};

function compute(operation: Operation, x: number, y: number): number {
  const out = new Float64Array(1);
  OPERATIONS[operation].loop(out, Float64Array.of(x), Float64Array.of(y), out, 1);
  return out[0] as number;
}

/** Elements of a table whose range is kept, so that long runs need not be read again. */
const STRETCH = 64;
const stretches = new WeakMap<Table, Stretches>();

/** Of each stretch the bounds and flags, as numbers, since tables may be large. */
interface Stretches {
  readonly lows: Float64Array;
  readonly highs: Float64Array;
  readonly flags: Uint8Array;
}
const SOME_NAN = 1;
const SOME_FRACTION = 2;

function ofElements(table: Table, index: Range): Range {
  const { values } = table;
  const outside = index.nan || !index.whole || index.low < 0 || index.high >= values.length;
  const first = Math.max(0, Math.ceil(index.low));
  const past = Math.min(values.length, Math.floor(index.high) + 1);
  const [firstWhole, pastWhole] = [Math.ceil(first / STRETCH), Math.floor(past / STRETCH)];
  if (firstWhole >= pastWhole) return toRange([boundsOf(values, first, past)], outside);
  const { lows, highs, flags } = stretchesOf(table);
  let [low, high, all] = [INFINITY, -INFINITY, 0];
  for (let at = firstWhole; at < pastWhole; at++) {
    low = Math.min(low, lows[at] as number);
    high = Math.max(high, highs[at] as number);
    all |= flags[at] as number;
  }
  const before = boundsOf(values, first, firstWhole * STRETCH);
  return toRange([before, { low, high, flags: all }, boundsOf(values, pastWhole * STRETCH, past)], outside);
}

function stretchesOf(table: Table): Stretches {
  let found = stretches.get(table);
  if (!found) {
    const count = Math.floor(table.values.length / STRETCH);
    found = { lows: new Float64Array(count), highs: new Float64Array(count), flags: new Uint8Array(count) };
    for (let at = 0; at < count; at++) {
      const { low, high, flags } = boundsOf(table.values, at * STRETCH, (at + 1) * STRETCH);
      found.lows[at] = low;
      found.highs[at] = high;
      found.flags[at] = flags;
    }
    stretches.set(table, found);
  }
  return found;
}

interface Bounds {
  readonly low: number;
  readonly high: number;
  readonly flags: number;
}

function boundsOf(values: Table['values'], first: number, past: number): Bounds {
  let low = INFINITY;
  let high = -INFINITY;
  let whole = true;
  for (let at = first; at < past; at++) {
    const value = values[at] as number;
    low = Math.min(low, value);
    high = Math.max(high, value);
    whole = whole && Math.trunc(value) === value;
  }
  if (!Number.isNaN(low)) return { low, high, flags: whole ? 0 : SOME_FRACTION };
  const numbers = Float64Array.from(values.subarray(first, past)).filter((value) => !Number.isNaN(value));
  const bounds = boundsOf(numbers, 0, numbers.length);
  return { ...bounds, flags: bounds.flags | SOME_NAN };
}

function toRange(bounds: readonly Bounds[], nan: boolean): Range {
  const flags = bounds.reduce((all, part) => all | part.flags, 0);
  return {
    low: Math.min(...bounds.map(({ low }) => low)),
    high: Math.max(...bounds.map(({ high }) => high)),
    nan: nan || (flags & SOME_NAN) !== 0,
    whole: (flags & SOME_FRACTION) === 0,
  };
}
