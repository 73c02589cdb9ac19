/** The operations of expressions, each defined once: as a loop over float64 arrays, with booleans as 0 and 1. */

/** `count` elements of out from those of x, y and z, as many as the operation takes. */
type Loop = (out: Float64Array, x: Float64Array, y: Float64Array, z: Float64Array, count: number) => void;

interface Definition {
  readonly kind: 'number' | 'boolean';
  readonly loop: Loop;
}

const number = (loop: Loop): Definition => ({ kind: 'number', loop });
const boolean = (loop: Loop): Definition => ({ kind: 'boolean', loop });

/** For functions that take longer than an extra call. */
const each = (f: (x: number) => number): Definition =>
  number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = f(x[i]!);
  });

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** The standard normal CDF: a series near 0, a continued fraction in the tails. */
function normalCdf(x: number): number {
  if (Number.isNaN(x)) return x;
  const size = Math.abs(x);
  if (size > 40) return x > 0 ? 1 : 0;
  if (size < 4) return 0.5 + normalSeries(x);
  let fraction = size;
  for (let k = 100; k > 0; k--) fraction = size + k / fraction;
  return x > 0 ? 1 - normalDensity(x) / fraction : normalDensity(x) / fraction;
}

function normalDensity(x: number): number {
  return Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
}

/** The integral of the density from 0 to x. */
function normalSeries(x: number): number {
  let [term, sum] = [x, x];
  for (let k = 3; k < 150; k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return normalDensity(x) * sum;
}

export const OPERATIONS = {
  add: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! + y[i]!;
  }),
  subtract: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! - y[i]!;
  }),
  multiply: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! * y[i]!;
  }),
  divide: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! / y[i]!;
  }),
  remainder: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) {
      const a = x[i]!;
      const b = y[i]!;
      // The remainder of int32 by an exact quotient is several times as fast.
      if ((a | 0) !== a || (b | 0) !== b || a === 0 || b <= 0) out[i] = a % b;
      else {
        const size = Math.abs(a);
        const rest = size - Math.floor(size / b) * b;
        out[i] = a > 0 ? rest : -rest;
      }
    }
  }),
  power: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! ** y[i]!;
  }),
  min: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.min(x[i]!, y[i]!);
  }),
  max: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.max(x[i]!, y[i]!);
  }),
  negative: number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = -x[i]!;
  }),
  abs: number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.abs(x[i]!);
  }),
  floor: number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.floor(x[i]!);
  }),
  ceil: number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.ceil(x[i]!);
  }),
  trunc: number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.trunc(x[i]!);
  }),
  round: each(Math.round),
  sign: each(Math.sign),
  sqrt: each(Math.sqrt),
  exp: each(Math.exp),
  log: each(Math.log),
  tanh: each(Math.tanh),
  expm1: each(Math.expm1),
  log1p: each(Math.log1p),
  sigmoid: each(sigmoid),
  /** The derivative of sigmoid; computing it as y (1 - y) would lose digits. */
  sigmoidSlope: each((x) => sigmoid(x) * sigmoid(-x)),
  softplus: each((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  erf: each((x) => (Math.abs(x) < 1 ? normalSeries(x * Math.SQRT2) * 2 : 1 - 2 * normalCdf(-x * Math.SQRT2))),
  normalCdf: each(normalCdf),
  rsqrt: each((x) => 1 / Math.sqrt(x)),
  cos: each(Math.cos),
  sin: each(Math.sin),
  bitAnd: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! & y[i]!;
  }),
  bitOr: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! | y[i]!;
  }),
  bitXor: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! ^ y[i]!;
  }),
  bitNot: number((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = ~x[i]!;
  }),
  shiftLeft: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! << y[i]!;
  }),
  shiftRight: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! >> y[i]!;
  }),
  shiftRightUnsigned: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! >>> y[i]!;
  }),
  less: boolean((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! < y[i]! ? 1 : 0;
  }),
  lessOrEqual: boolean((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! <= y[i]! ? 1 : 0;
  }),
  equal: boolean((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! === y[i]! ? 1 : 0;
  }),
  not: boolean((out, x, _y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = 1 - x[i]!;
  }),
  and: boolean((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! * y[i]!;
  }),
  or: boolean((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = Math.max(x[i]!, y[i]!);
  }),
  /** Element y of x, a captured tensor; NaN outside. */
  lookup: number((out, x, y, _z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[y[i]!] ?? Number.NaN;
  }),
  /** y where x is true, else z; of the same kind as both. */
  select: number((out, x, y, z, count) => {
    for (let i = 0; i < count; i++) out[i] = x[i]! === 1 ? y[i]! : z[i]!;
  }),
} satisfies Record<string, Definition>;

export type Operation = keyof typeof OPERATIONS;
