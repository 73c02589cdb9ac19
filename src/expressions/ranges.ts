/**
 * Interval arithmetic: bounds of an expression over a box of queries and keys, without computing its elements.
 *
 * Rounding to nearest never reverses an order, so the bounds of sums and products, computed in float64, bound the
 * computed values. Functions without such a guarantee get a margin.
 */
import { getOrMake } from '../bounded-map';
import { compute, type Expression, type InputName, type Table } from './expression';
import type { Operation } from './operations';
import { type Step, stepsOf } from './steps';

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
/** A few units in the last place. */
const MARGIN = 2e-15;

/** The integers from low to high. */
export const integers = (low: number, high: number): Range => ({ low, high, nan: false, whole: true });

/** A score can be any number. */
export const anyScore: Range = ANYTHING;
/** An integer of 32 bits. */
export const anyInteger: Range = INT32;

/** The range of every step of an expression (steps.ts). */
export function rangesOf(expression: Expression, box: Box): readonly Range[] {
  return rangesOfSteps(stepsOf(expression), box);
}

/** The ranges of several expressions' steps; where results wrap around, integers of 32 bits stay such. */
export function rangesOfSteps(steps: readonly Step[], box: Box, wraps = false): readonly Range[] {
  const ranges: Range[] = [];
  for (const step of steps) {
    const range = rangeOf(step, ranges, box);
    const isOfIntegers = step.args.length > 0 && step.args.every((arg) => isInt32(ranges[arg] as Range));
    const wraparound = wraps && isOfIntegers && range.whole && !range.nan && !isInt32(range);
    ranges.push(wraparound ? INT32 : range);
  }
  return ranges;
}

/** The range of one step, from those of the steps before it. */
function rangeOf({ node, args }: Step, ranges: readonly Range[], box: Box): Range {
  if ('value' in node) return exactly(node.value);
  // Captured values may be anything.
  if ('name' in node) return box[node.name] ?? ANYTHING;
  const x = ranges[args[0] as number] as Range;
  if ('table' in node) return ofElements(node.table, x);
  const y = ranges[args[1] ?? (args[0] as number)] as Range;
  return RULES[node.operation](x, y, ranges[args[2] ?? (args[0] as number)] as Range);
}

/** Decides a boolean expression over boxes that differ in their keys. */
export class Decider {
  readonly #ranges: Range[];
  readonly #ofKeys: readonly number[];

  constructor(
    private readonly expression: Expression,
    private readonly box: Box,
  ) {
    this.#ranges = [...rangesOf(expression, box)];
    this.#ofKeys = stepsOfKeys(expression);
  }

  /** True or false if the expression is that for all of the keys; undefined if it may be either. */
  decide(first: number, past: number): boolean | undefined {
    const box = { ...this.box, k: integers(first, past - 1) };
    const steps = stepsOf(this.expression);
    for (const at of this.#ofKeys) this.#ranges[at] = rangeOf(steps[at] as Step, this.#ranges, box);
    const { low, high } = this.#ranges.at(-1) as Range;
    return low === high ? low === 1 : undefined;
  }
}

const ofKeys = new WeakMap<Expression, readonly number[]>();

/** The steps that depend on the key. */
function stepsOfKeys(expression: Expression): readonly number[] {
  return getOrMake(ofKeys, expression, () =>
    stepsOf(expression).flatMap(({ inputs }, at) => (inputs.has('k') ? [at] : [])),
  );
}

function exactly(value: number): Range {
  if (Number.isNaN(value)) return { low: INFINITY, high: -INFINITY, nan: true, whole: true };
  return { low: value, high: value, nan: false, whole: Number.isInteger(value) || Math.abs(value) === INFINITY };
}

/** The range of candidates for the bounds; if one is NaN, nothing is known. */
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
/** Whether its values are integers that fit in 32 bits. */
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

/** The range of the four corners; `whole` if both operands are. */
const corners =
  (f: (x: number, y: number) => number): Rule =>
  (x, y) => {
    if (isEmpty(x) || isEmpty(y)) return exactly(Number.NaN);
    const candidates = [f(x.low, y.low), f(x.low, y.high), f(x.high, y.low), f(x.high, y.high)];
    return spanning(candidates, x.nan || y.nan, x.whole && y.whole);
  };

/** Math.min and Math.max, which give NaN if an operand is NaN. */
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
    if (isPoint(x) && isPoint(y)) return exactly(compute(operation, [x.low, y.low]));
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
    return integers(compute(operation, [x.low, y.low]), compute(operation, [x.high, y.low]));
  };

/** The smallest 2^e - 1 that is not less than x. */
const ones = (x: number) => 2 ** Math.ceil(Math.log2(x + 1)) - 1;

const RULES: Readonly<Record<Operation, Rule>> = {
  lookup: (tensor) => tensor,
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
      // The quotient may have been rounded up to the next integer.
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
    // Near 1 a relative margin is too small.
    const { low, high, nan } = monotone(Math.log, undefined, MARGIN)(x, y, z);
    return { low: low - MARGIN, high: high + MARGIN, nan, whole: false };
  },
  tanh: monotone(Math.tanh, undefined, MARGIN),
  expm1: monotone(Math.expm1, undefined, MARGIN),
  log1p: (x, y, z) => (x.low < -1 ? ANYTHING : monotone(Math.log1p, undefined, MARGIN)(x, y, z)),
  sigmoid: (x) => ({ low: 0, high: 1, nan: x.nan, whole: false }),
  sigmoidSlope: (x) => ({ low: 0, high: 0.25, nan: x.nan, whole: false }),
  softplus: (x) => ({ low: 0, high: INFINITY, nan: x.nan, whole: false }),
  erf: (x) => ({ low: -1, high: 1, nan: x.nan, whole: false }),
  normalCdf: (x) => ({ low: 0, high: 1, nan: x.nan, whole: false }),
  rsqrt: (x) => (x.low < 0 ? ANYTHING : { low: -INFINITY, high: INFINITY, nan: x.nan, whole: false }),
  cos: (x) => ({ low: -1, high: 1, nan: x.nan || x.low === -INFINITY || x.high === INFINITY, whole: false }),
  sin: (x) => ({ low: -1, high: 1, nan: x.nan || x.low === -INFINITY || x.high === INFINITY, whole: false }),
  bitAnd: (x, y, z) => {
    if (isPoint(x) && isPoint(y)) return exactly(compute('bitAnd', [x.low, y.low]));
    // An operand that is not negative bounds the result.
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

/** The number of elements whose range is cached, so that long runs need not be read again. */
const STRETCH = 64;
/** The number of queries answered without building levels, which would cost more: a score asks only once. */
const FEW = 16;
const NAN = 1;
const FRACTION = 2;

/**
 * The ranges of a table's stretches, and of every 2, 4, 8, ... stretches that follow one another: two of them cover any run.
 */
class Stretches {
  readonly #lows: Float64Array[] = [];
  readonly #highs: Float64Array[] = [];
  /** Whether some element is NaN, and whether some is no integer. */
  readonly #flags: Uint8Array[] = [];

  #asked = 0;

  constructor(values: Table['values']) {
    this.#addLevel(Math.floor(values.length / STRETCH), (scan, at) =>
      scan.read(values, at * STRETCH, (at + 1) * STRETCH),
    );
  }

  /** Adds the stretches from `first` to before `past`, at least one. */
  addTo(scan: Scan, first: number, past: number): void {
    if (this.#asked++ < FEW) {
      for (let at = first; at < past; at++) this.#add(scan, 0, at);
      return;
    }
    const level = 31 - Math.clz32(past - first);
    for (let next = this.#lows.length; next <= level; next++) {
      const size = 2 ** (next - 1);
      this.#addLevel((this.#lows[next - 1] as Float64Array).length - size, (all, at) => {
        this.#add(all, next - 1, at);
        this.#add(all, next - 1, at + size);
      });
    }
    this.#add(scan, level, first);
    this.#add(scan, level, past - 2 ** level);
  }

  #addLevel(places: number, read: (scan: Scan, at: number) => void): void {
    const [lows, highs, flags] = [new Float64Array(places), new Float64Array(places), new Uint8Array(places)];
    const scan = new Scan();
    for (let at = 0; at < places; at++) {
      scan.clear();
      read(scan, at);
      lows[at] = scan.low;
      highs[at] = scan.high;
      flags[at] = scan.flags;
    }
    this.#lows.push(lows);
    this.#highs.push(highs);
    this.#flags.push(flags);
  }

  #add(scan: Scan, level: number, at: number): void {
    scan.add(this.#lows[level]![at]!, this.#highs[level]![at]!, this.#flags[level]![at]!);
  }
}

/** The range of what was read so far. */
class Scan {
  low = INFINITY;
  high = -INFINITY;
  flags = 0;

  clear(): void {
    [this.low, this.high, this.flags] = [INFINITY, -INFINITY, 0];
  }

  add(low: number, high: number, flags: number): void {
    if (low < this.low) this.low = low;
    if (high > this.high) this.high = high;
    this.flags |= flags;
  }

  read(values: Table['values'], first: number, past: number): void {
    for (let at = first; at < past; at++) {
      const value = values[at]!;
      if (value < this.low) this.low = value;
      if (value > this.high) this.high = value;
      if (Math.trunc(value) !== value) this.flags |= Number.isNaN(value) ? NAN : FRACTION;
    }
  }
}

const stretches = new WeakMap<Table, Stretches>();

function ofElements(table: Table, index: Range): Range {
  const { values } = table;
  const outside = index.nan || !index.whole || index.low < 0 || index.high >= values.length;
  const first = Math.max(0, Math.ceil(index.low));
  const past = Math.min(values.length - 1, Math.floor(index.high)) + 1;
  const scan = new Scan();
  const [from, to] = [Math.ceil(first / STRETCH), Math.floor(past / STRETCH)];
  if (from < to) {
    scan.read(values, first, from * STRETCH);
    getOrMake(stretches, table, () => new Stretches(values)).addTo(scan, from, to);
    scan.read(values, to * STRETCH, past);
  } else scan.read(values, first, past);
  return { low: scan.low, high: scan.high, nan: outside || (scan.flags & NAN) !== 0, whole: !(scan.flags & FRACTION) };
}
