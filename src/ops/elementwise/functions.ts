/** Functions of one element with their derivatives, and of two, in float64. */
import type { Binary, Unary } from './call';

interface Definition {
  /** `p` is the exponent of `power`. */
  readonly value: (x: number, p: number) => number;
  readonly derivative: (x: number, p: number) => number;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export const UNARY_FUNCTIONS: Readonly<Record<Unary, Definition>> = {
  relu: { value: (x) => Math.max(0, x), derivative: (x) => (x > 0 ? 1 : 0) },
  tanh: { value: Math.tanh, derivative: (x) => 4 * sigmoid(2 * x) * sigmoid(-2 * x) },
  exp: { value: Math.exp, derivative: Math.exp },
  sigmoid: { value: sigmoid, derivative: (x) => sigmoid(x) * sigmoid(-x) },
  silu: {
    value: (x) => x / (1 + Math.exp(-x)),
    derivative: (x) => sigmoid(x) * (1 + x * sigmoid(-x)),
  },
  elu: { value: (x) => (x > 0 ? x : Math.expm1(x)), derivative: (x) => (x > 0 ? 1 : Math.exp(x)) },
  eluPlusOne: { value: (x) => (x > 0 ? x + 1 : Math.exp(x)), derivative: (x) => (x > 0 ? 1 : Math.exp(x)) },
  step: { value: (x) => (x > 0 ? 1 : 0), derivative: () => 0 },
  sin: { value: Math.sin, derivative: Math.cos },
  cos: { value: Math.cos, derivative: (x) => -Math.sin(x) },
  gelu: {
    value: (x) => x * normalShare(x),
    derivative: (x) => normalShare(x) + (x * Math.exp(-x * x * 0.5)) / Math.sqrt(2 * Math.PI),
  },
  rsqrt: { value: (x) => 1 / Math.sqrt(x), derivative: (x) => -0.5 / (x * Math.sqrt(x)) },
  reciprocal: { value: (x) => 1 / x, derivative: (x) => -1 / x ** 2 },
  power: { value: (x, p) => x ** p, derivative: (x, p) => p * x ** (p - 1) },
};

/** The share of a standard normal distribution below x: a series near 0, a continued fraction in the tails. */
function normalShare(x: number): number {
  if (Number.isNaN(x)) return x;
  const size = Math.abs(x);
  if (size > 40) return x > 0 ? 1 : 0;
  const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
  if (size < 4) {
    let [term, sum] = [size, size];
    for (let k = 3; k < 150; k += 2) {
      term *= (x * x) / k;
      sum += term;
    }
    return 0.5 + Math.sign(x) * density * sum;
  }
  let fraction = size;
  for (let k = 100; k > 0; k--) fraction = size + k / fraction;
  return x > 0 ? 1 - density / fraction : density / fraction;
}

export const BINARY_FUNCTIONS: Readonly<Record<Binary, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
};
