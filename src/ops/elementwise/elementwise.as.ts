/** Functions of each element and their derivatives, sums and products; tasks are runs of elements. */
import { cos, exp, expMinusOne, sin, tanh } from '../../runtime/wasm/assembly/functions.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import {
  ADD, BinaryParams, COS, ELU, ELU_PLUS_ONE, EXP, GELU, RECIPROCAL, RELU, RSQRT, RUN, SIGMOID, SILU, SIN, STEP,
  SUBTRACT, TANH, UnaryParams,
} from './params.generated.as';

export function unary(params: usize, task: i32, scratch: usize): void {
  const p = changetype<UnaryParams>(params);
  const operation = p.operation;
  const exponent = p.exponent;
  const x = p.x;
  const out = p.out;
  let i = <usize>(task * RUN);
  const to = min(i + RUN, p.size);
  for (; i + 4 <= to; i += 4) v128.store(out + (i << 2), value(operation, exponent, v128.load(x + (i << 2))));
  for (; i < to; i++) {
    v128.store32_lane(out + (i << 2), value(operation, exponent, v128.load32_zero(x + (i << 2))), 0);
  }
}

export function unaryBackward(params: usize, task: i32, scratch: usize): void {
  const p = changetype<UnaryParams>(params);
  const operation = p.operation;
  const exponent = p.exponent;
  const x = p.x;
  const gradOut = p.gradOut;
  const out = p.out;
  let i = <usize>(task * RUN);
  const to = min(i + RUN, p.size);
  for (; i + 4 <= to; i += 4) {
    const slope = derivative(operation, exponent, v128.load(x + (i << 2)));
    v128.store(out + (i << 2), f32x4.mul(slope, v128.load(gradOut + (i << 2))));
  }
  for (; i < to; i++) {
    const slope = derivative(operation, exponent, v128.load32_zero(x + (i << 2)));
    v128.store32_lane(out + (i << 2), f32x4.mul(slope, v128.load32_zero(gradOut + (i << 2))), 0);
  }
}

function value(operation: i32, exponent: i32, x: v128): v128 {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  switch (operation) {
    case RELU:
      return f32x4.max(x, zero);
    case TANH:
      return tanh(x);
    case EXP:
      return exp(x);
    case SIGMOID:
      return sigmoid(x);
    case SILU:
      return f32x4.mul(x, sigmoid(x));
    case ELU:
      return v128.bitselect(x, expMinusOne(x), f32x4.gt(x, zero));
    case ELU_PLUS_ONE:
      return v128.bitselect(f32x4.add(x, one), exp(x), f32x4.gt(x, zero));
    case STEP:
      return v128.and(one, f32x4.gt(x, zero));
    case SIN:
      return sin(x);
    case COS:
      return cos(x);
    case GELU:
      return f32x4.mul(x, normalShare(x));
    case RECIPROCAL:
      return f32x4.div(one, x);
    case RSQRT:
      return f32x4.div(one, f32x4.sqrt(x));
    default:
      return power(x, exponent);
  }
}

function derivative(operation: i32, exponent: i32, x: v128): v128 {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  switch (operation) {
    case RELU:
      return v128.and(one, f32x4.gt(x, zero));
    case TANH:
      return f32x4.mul(f32x4.splat(4), sigmoidSlope(f32x4.add(x, x)));
    case EXP:
      return exp(x);
    case SIGMOID:
      return sigmoidSlope(x);
    case SILU:
      return f32x4.mul(sigmoid(x), f32x4.add(one, f32x4.mul(x, sigmoid(f32x4.neg(x)))));
    case ELU:
    case ELU_PLUS_ONE:
      return v128.bitselect(one, exp(x), f32x4.gt(x, zero));
    case STEP:
      return zero;
    case SIN:
      return cos(x);
    case COS:
      return f32x4.neg(sin(x));
    case GELU: {
      const density = f32x4.mul(f32x4.splat(0.3989422804014327), exp(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(x, x))));
      return madd(x, density, normalShare(x));
    }
    case RECIPROCAL:
      return f32x4.neg(f32x4.div(one, f32x4.mul(x, x)));
    case RSQRT:
      return f32x4.div(f32x4.splat(-0.5), f32x4.mul(x, f32x4.sqrt(x)));
    default:
      return f32x4.mul(f32x4.splat(<f32>exponent), power(x, exponent - 1));
  }
}

/** 1 / (1 + e^-x), by e^-|x|: that of -x would be infinite before the result is 0. */
function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1);
  const t = exp(f32x4.neg(f32x4.abs(x)));
  return f32x4.div(v128.bitselect(t, one, f32x4.lt(x, f32x4.splat(0))), f32x4.add(one, t));
}

/** The same on both sides of 0, without the difference 1 - y. */
function sigmoidSlope(x: v128): v128 {
  const t = exp(f32x4.neg(f32x4.abs(x)));
  const whole = f32x4.add(f32x4.splat(1), t);
  return f32x4.div(t, f32x4.mul(whole, whole));
}

/**
 * The share of a standard normal distribution below x: half of erfc(-x / root 2), by a fit of log(erfc) with a relative
 * error below 1.2e-7 (Press et al., Numerical Recipes, section 6.2).
 */
function normalShare(x: v128): v128 {
  const one = f32x4.splat(1);
  const z = f32x4.mul(f32x4.abs(x), f32x4.splat(0.7071067811865476));
  const t = f32x4.div(one, madd(z, f32x4.splat(0.5), one));
  let y = madd(f32x4.splat(0.17087277), t, f32x4.splat(-0.82215223));
  y = madd(y, t, f32x4.splat(1.48851587));
  y = madd(y, t, f32x4.splat(-1.13520398));
  y = madd(y, t, f32x4.splat(0.27886807));
  y = madd(y, t, f32x4.splat(-0.18628806));
  y = madd(y, t, f32x4.splat(0.09678418));
  y = madd(y, t, f32x4.splat(0.37409196));
  y = madd(y, t, f32x4.splat(1.00002368));
  y = madd(y, t, f32x4.splat(-1.26551223));
  const tail = f32x4.mul(f32x4.mul(t, f32x4.splat(0.5)), exp(f32x4.sub(y, f32x4.mul(z, z))));
  return v128.bitselect(f32x4.sub(one, tail), tail, f32x4.ge(x, f32x4.splat(0)));
}

/** x^exponent by squaring. */
function power(x: v128, exponent: i32): v128 {
  let result = f32x4.splat(1);
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = f32x4.mul(result, x);
    x = f32x4.mul(x, x);
  }
  return result;
}

export function binary(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BinaryParams>(params);
  const operation = p.operation;
  const period = p.period;
  const stretch = p.stretch;
  const last = min(<usize>(task * RUN) + RUN, p.size);
  let i = <usize>(task * RUN);
  while (i < last) {
    // One element of b at a time where it is stretched, else one period.
    const place = (i / stretch) % period;
    const end = min(last, stretch > 1 ? i + stretch - (i % stretch) : i + period - place);
    const step: usize = stretch > 1 ? 0 : 4;
    let b = p.b + (place << 2);
    let a = p.a + (i << 2);
    let to = p.out + (i << 2);
    for (; i + 4 <= end; i += 4, a += 16, b += 4 * step, to += 16) {
      const y = step ? v128.load(b) : v128.load32_splat(b);
      v128.store(to, combine(operation, v128.load(a), y));
    }
    for (; i < end; i++, a += 4, b += step, to += 4) {
      v128.store32_lane(to, combine(operation, v128.load32_zero(a), v128.load32_zero(b)), 0);
    }
  }
}

// @ts-ignore: decorator
@inline
function combine(operation: i32, x: v128, y: v128): v128 {
  if (operation == ADD) return f32x4.add(x, y);
  return operation == SUBTRACT ? f32x4.sub(x, y) : f32x4.mul(x, y);
}
