/** Functions of each element on its own, and their derivatives. */

import { type Dispatch, flat, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { type FunctionName, functions } from '../../runtime/webgpu/kernels/functions';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from '../../runtime/webgpu/kernels/vectors';
import type { Plan } from '../../runtime/webgpu/queue';
import type { Binary, BinaryCall, Unary, UnaryBackwardCall, UnaryCall } from './call';

interface Definition {
  readonly needs: readonly FunctionName[];
  /** Of `x`, and of `numbers.exponent` for `power`. */
  readonly value: string;
  readonly derivative: string;
}

const UNARY: Readonly<Record<Unary, Definition>> = {
  relu: {
    needs: ['is_nan', 'is_positive'],
    value: 'select(0.0, x, is_positive(x) || is_nan(x))',
    derivative: 'select(0.0, 1.0, is_positive(x))',
  },
  tanh: {
    needs: ['precise_tanh', 'precise_sigmoid'],
    value: 'precise_tanh(x)',
    derivative: '4.0 * precise_sigmoid(2.0 * x) * precise_sigmoid(-2.0 * x)',
  },
  exp: { needs: ['precise_exp'], value: 'precise_exp(x)', derivative: 'precise_exp(x)' },
  sigmoid: {
    needs: ['precise_sigmoid'],
    value: 'precise_sigmoid(x)',
    derivative: 'precise_sigmoid(x) * precise_sigmoid(-x)',
  },
  silu: {
    needs: ['precise_sigmoid'],
    value: 'x * precise_sigmoid(x)',
    derivative: 'precise_sigmoid(x) * (1.0 + x * precise_sigmoid(-x))',
  },
  elu: {
    needs: ['precise_expm1', 'precise_exp'],
    value: 'select(precise_expm1(x), x, x > 0.0)',
    derivative: 'select(precise_exp(x), 1.0, x > 0.0)',
  },
  eluPlusOne: {
    needs: ['precise_exp'],
    value: 'select(precise_exp(x), x + 1.0, x > 0.0)',
    derivative: 'select(precise_exp(x), 1.0, x > 0.0)',
  },
  step: { needs: ['is_positive'], value: 'select(0.0, 1.0, is_positive(x))', derivative: '0.0' },
  sin: { needs: ['precise_sin', 'precise_cos'], value: 'precise_sin(x)', derivative: 'precise_cos(x)' },
  cos: { needs: ['precise_sin', 'precise_cos'], value: 'precise_cos(x)', derivative: '-precise_sin(x)' },
  gelu: {
    needs: ['normal_share', 'precise_exp'],
    value: 'x * normal_share(x)',
    derivative: 'normal_share(x) + x * 0.39894228 * precise_exp(-0.5 * x * x)',
  },
  rsqrt: { needs: [], value: '1.0 / sqrt(x)', derivative: '-0.5 / (x * sqrt(x))' },
  reciprocal: { needs: [], value: '1.0 / x', derivative: '-1.0 / (x * x)' },
  power: {
    needs: ['integer_power'],
    value: 'integer_power(x, numbers.exponent)',
    derivative: 'f32(numbers.exponent) * integer_power(x, numbers.exponent - 1)',
  },
};

const unaryKernel = variants(({ operation, isDerivative }: { operation: Unary; isDerivative: boolean }): Kernel => {
  const { needs, value, derivative } = UNARY[operation];
  const four = (line: (component: string) => string) => `vec4f(${['x', 'y', 'z', 'w'].map(line).join(', ')})`;
  const result = four((c) => `${isDerivative ? 'derivative' : 'value'}(x.${c})`);
  return {
    name: isDerivative ? `derivative of ${operation}` : operation,
    invocations: VECTOR_INVOCATIONS,
    operands: {
      x: { access: 'read', vector: true },
      ...(isDerivative ? { gradOut: { access: 'read', vector: true } as const } : {}),
      out: { access: 'write', vector: true },
    },
    numbers: { size: 'u32', ...(operation === 'power' ? { exponent: 'u32' } : {}) },
    body: `
${functions(...needs)}
${isDerivative ? `fn derivative(x: f32) -> f32 { return ${derivative}; }` : `fn value(x: f32) -> f32 { return ${value}; }`}
${overVectors(`let x = load4_x(i);
      store4_out(i, ${isDerivative ? `load4_gradOut(i) * ${result}` : result}, numbers.size - i);`)}`,
  };
});

export function planUnary(call: UnaryCall | UnaryBackwardCall): Plan {
  const { operation, exponent, x, out } = call;
  const isDerivative = 'gradOut' in call;
  const dispatch: Dispatch = {
    kernel: unaryKernel({ operation, isDerivative }),
    operands: { x: flat(x), ...(isDerivative ? { gradOut: flat(call.gradOut) } : {}), out: flat(out) },
    numbers: { size: x.size, exponent },
    tasks: vectorTasks(x.size),
    operations: 40 * x.size,
  };
  return { dispatches: [dispatch] };
}

const BINARY: Readonly<Record<Binary, string>> = { add: '+', subtract: '-', multiply: '*' };

const binaryKernel = variants(
  (operation: Binary): Kernel => ({
    name: operation,
    invocations: VECTOR_INVOCATIONS,
    operands: {
      a: { access: 'read', vector: true },
      b: { access: 'read', vector: true },
      out: { access: 'write', vector: true },
    },
    numbers: { size: 'u32', period: 'u32', stretch: 'u32' },
    body: `
fn of_b(i: u32) -> f32 { return load_b((i / numbers.stretch) % numbers.period); }
fn four_of_b(i: u32) -> vec4f {
  if (numbers.stretch == 1 && numbers.period == numbers.size) { return load4_b(i); }
  if (numbers.stretch == 1 && numbers.period % 4 == 0) { return load4_b(i % numbers.period); }
  if (numbers.stretch % 4 == 0) { return vec4f(of_b(i)); }
  return vec4f(of_b(i), of_b(i + 1), of_b(i + 2), of_b(i + 3));
}
${overVectors(`store4_out(i, load4_a(i) ${BINARY[operation]} four_of_b(i), numbers.size - i);`)}`,
  }),
);

export function planBinary({ operation, a, b, stretch, out }: BinaryCall): Plan {
  return {
    dispatches: [
      {
        kernel: binaryKernel(operation),
        operands: { a: flat(a), b: flat(b), out: flat(out) },
        numbers: { size: a.size, period: b.size, stretch },
        tasks: vectorTasks(a.size),
        operations: 4 * a.size,
      },
    ],
  };
}
