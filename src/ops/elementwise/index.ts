/**
 * Functions of each element on its own, f32 and contiguous, and their derivatives. Errors are a few units in the last
 * place also of the smallest results, but that a GPU may take denormals for zeros, and that results of `gelu` at x < 0 lose
 * digits as x^2 grows and those of `silu` where the sigmoid is a denormal.
 */
import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import { sum } from '../reduce';
import {
  BINARY,
  type Binary,
  type BinaryCall,
  UNARY,
  type Unary,
  type UnaryBackwardCall,
  type UnaryCall,
} from './call';
import { BinaryParams, RUN, UnaryParams } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./elementwise.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./elementwise.baseline.wasm', import.meta.url),
};

const unaryOp: Op<UnaryCall> = {
  name: 'unary',
  reference: async () => (await import('./reference')).unary,
  kernels,
  wasm({ operation, exponent, x, out }) {
    const code = UNARY.indexOf(operation);
    const params = UnaryParams({ operation: code, exponent, size: x.size, x, gradOut: undefined, out });
    return overElements('unary', Math.ceil(x.size / RUN), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planUnary,
};

const unaryBackwardOp: Op<UnaryBackwardCall> = {
  name: 'unaryBackward',
  reference: async () => (await import('./reference')).unaryBackward,
  kernels,
  wasm({ operation, exponent, x, gradOut, out }) {
    const code = UNARY.indexOf(operation);
    const params = UnaryParams({ operation: code, exponent, size: x.size, x, gradOut, out });
    return overElements('unaryBackward', Math.ceil(x.size / RUN), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planUnary,
};

const binaryOp: Op<BinaryCall> = {
  name: 'binary',
  reference: async () => (await import('./reference')).binary,
  kernels,
  wasm({ operation, a, b, stretch, out }) {
    const code = BINARY.indexOf(operation);
    const params = BinaryParams({ operation: code, size: a.size, period: b.size, stretch, a, b, out });
    return overElements('binary', Math.ceil(a.size / RUN), params, a.size);
  },
  webgpu: async () => (await import('./webgpu')).planBinary,
};

/** max(x, 0) for every element of x. */
export function relu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('relu', x, options);
}

/** The hyperbolic tangent of every element of x. */
export function tanh(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('tanh', x, options);
}

/** e^x for every element of x. */
export function exp(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('exp', x, options);
}

/** 1 / (1 + e^-x) for every element of x. */
export function sigmoid(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('sigmoid', x, options);
}

/** x / (1 + e^-x) for every element of x, also called swish. */
export function silu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('silu', x, options);
}

/** x where it is positive, else e^x - 1, for every element of x. */
export function elu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('elu', x, options);
}

/** elu(x) + 1 for every element of x: positive however small, where the sum of the two would round to 0. */
export function eluPlusOne(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('eluPlusOne', x, options);
}

/** 1 where an element of x is positive, else 0. */
export function step(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('step', x, options);
}

/** The sine of every element of x, in radians; meant for |x| <= 1e9. */
export function sin(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('sin', x, options);
}

/** The cosine of every element of x, in radians; meant for |x| <= 1e9. */
export function cos(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('cos', x, options);
}

/** x Phi(x) for every element of x, with Phi(x) the share of a standard normal distribution below x. */
export function gelu(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('gelu', x, options);
}

/** 1 / x for every element of x. */
export function reciprocal(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('reciprocal', x, options);
}

/** 1 / sqrt(x) for every element of x; NaN below 0. */
export function rsqrt(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('rsqrt', x, options);
}

/** x^exponent for every element of x, of any sign; the exponent is an integer from 1 to 64. */
export function power(x: Tensor, exponent: number, options: ResultOptions = {}): Tensor<'f32'> {
  return unary('power', x, options, exponent);
}

export interface UnaryBackwardOptions extends ResultOptions {
  /** Of `power`. */
  readonly exponent?: number | undefined;
}

/**
 * gradOut f'(x), elementwise: the gradient with respect to x of a loss whose gradient with respect to f(x) is gradOut,
 * for the function of this
 * name. gradOut has the shape of x. At 0 the derivative of relu and step is 0; that of step is 0 everywhere.
 *
 * @throws {ShapeError} shapes that differ, strided views
 * @throws {ParameterError} an unknown name; an exponent that is missing, out of range or not of `power`
 */
export function unaryBackward(
  operation: Unary,
  x: Tensor,
  gradOut: Tensor,
  options: UnaryBackwardOptions = {},
): Tensor<'f32'> {
  if (!UNARY.includes(operation))
    throw new ParameterError(`operation must be one of ${UNARY.join(', ')}, got ${show(operation)}`);
  checkFloat32('unaryBackward', { x, gradOut }, options, ['exponent']);
  checkContiguous({ x, gradOut });
  if (!sameShape(x.shape, gradOut.shape))
    throw new ShapeError(`gradOut must have the shape of x ${formatShape(x.shape)}, got ${formatShape(gradOut.shape)}`);
  const checked = checkExponent(operation, options.exponent);
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ operation, exponent: checked, x, gradOut, out });
  const { out } = compute(unaryBackwardOp, { x, gradOut }, { out: spec }, call, options);
  return out;
}

/**
 * a + b. The shape of b is that of a or ends it, such as a bias [c] for a [n, c]: b is then repeated along the leading
 * axes. Or it is that of a but for a last extent of 1, such as [n, 1]: each element then serves a whole row.
 */
export function add(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return binary('add', a, b, options);
}

/** a - b, elementwise; shapes as for `add`. */
export function subtract(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return binary('subtract', a, b, options);
}

/** a b, elementwise; shapes as for `add`. */
export function multiply(a: Tensor, b: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return binary('multiply', a, b, options);
}

function unary(operation: Unary, x: Tensor, options: ResultOptions, exponent?: number): Tensor<'f32'> {
  checkFloat32(operation, { x }, options);
  checkContiguous({ x });
  const checked = checkExponent(operation, exponent);
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ operation, exponent: checked, x, out });
  const { out } = compute(unaryOp, { x }, { out: spec }, call, options, {
    derivative: {
      saves: ['x'],
      gradients: (saved, { out: gradOut }, _, control) => ({
        x: unaryBackward(operation, saved.x as Tensor, gradOut as Tensor, { ...control, exponent }),
      }),
    },
  });
  return out;
}

function binary(operation: Binary, a: Tensor, b: Tensor, options: ResultOptions): Tensor<'f32'> {
  checkFloat32(operation, { a, b }, options);
  checkContiguous({ a, b });
  const stretch = stretchOf(a, b);
  const spec = { shape: a.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ operation, a, b, stretch, out });
  const isProduct = operation === 'multiply';
  const { out } = compute(binaryOp, { a, b }, { out: spec }, call, options, {
    derivative: {
      saves: (wanted) => (isProduct ? ['a', 'b'].filter((name) => wanted.has(name === 'a' ? 'b' : 'a')) : []),
      gradients(saved, gradients, wanted) {
        const gradOut = gradients.out as Tensor;
        const found: Record<string, Tensor> = {};
        if (wanted.has('a')) found.a = isProduct ? multiply(gradOut, saved.b as Tensor) : gradOut;
        if (wanted.has('b')) {
          const each = isProduct ? multiply(gradOut, saved.a as Tensor) : gradOut;
          const signed = operation === 'subtract' ? multiply(each, each.runtime.tensor([-1], [])) : each;
          const front = a.rank - b.rank;
          const axes = a.shape.flatMap((extent, axis) =>
            axis < front || b.shape[axis - front] !== extent ? [axis] : [],
          );
          found.b = axes.length > 0 ? sum(signed, { axes }).reshape(b.shape) : signed;
        }
        return found;
      },
    },
  });
  return out;
}

/** How many elements of a in a row one element of b serves. */
function stretchOf(a: Tensor, b: Tensor): number {
  if (b.rank <= a.rank && sameShape(a.shape.slice(a.rank - b.rank), b.shape)) return b.size === 1 ? a.size : 1;
  if (a.rank > 0 && sameShape([...a.shape.slice(0, -1), 1], b.shape)) return a.shape.at(-1) as number;
  throw new ShapeError(
    `b must have the shape of a ${formatShape(a.shape)}, its last extents, or 1 in place of the last, got ${formatShape(b.shape)}`,
  );
}

/** The exponent of `power`, 1 for the others; throws unless it is an integer from 1 to 64 and `power` asks. */
export function checkExponent(operation: Unary, exponent: number | undefined): number {
  if (operation !== 'power') {
    if (exponent !== undefined) throw new ParameterError(`exponent is an option of power, not of ${operation}`);
    return 1;
  }
  if (!(Number.isInteger(exponent) && (exponent as number) >= 1 && (exponent as number) <= 64))
    throw new ParameterError(`exponent must be an integer from 1 to 64, got ${show(exponent)}`);
  return exponent as number;
}
