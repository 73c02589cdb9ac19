/** Ops on rows x [n, d], whose limit is the memory, and products of matrices, whose limit is arithmetic. */
import { type Expected, largestOf } from '../measure/gate';
import { contiguous } from '../ops/copy';
import { elementwise, map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { layerNorm } from '../ops/norm';
import { sum } from '../ops/reduce';
import { softmax } from '../ops/softmax';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { someOf } from './expected';
import type { Operation } from './operation';

type Row = Float64Array;

interface RowsOperation {
  readonly name: string;
  /** What becomes of a row. */
  row(x: Row): ArrayLike<number>;
  run(x: Tensor<'f32'>, out: Tensor<'f32'>): unknown;
}

/** Of each row as many numbers, or one. */
function overRows({ name, row, run }: RowsOperation, columnsOf: (d: number) => number = (d) => d): Operation {
  return {
    name,
    flops: () => 0,
    size: ({ n, d }) => n * columnsOf(d),
    bytes: ({ n, d }) => 4 * n * (d + columnsOf(d)),
    expected({ n, d }, { q }) {
      const known = someOf(n).map((at) => {
        const numbers = Float64Array.from(row(Float64Array.from(q.subarray(at * d, (at + 1) * d))));
        return { at: at * columnsOf(d), numbers };
      });
      return [{ known, largest: Math.max(...known.map(({ numbers }) => largestOf(numbers))), of: 'largest result' }];
    },
    open(runtime, { problem: { n, d }, inputs }) {
      const x = runtime.tensor(inputs.q, [n, d]);
      const shape = columnsOf(d) === 1 ? [n] : [n, columnsOf(d)];
      // Not a number until a kernel writes it.
      const out = runtime.tensor(new Float32Array(n * columnsOf(d)).fill(Number.NaN), shape);
      return { call: () => void run(x, out), result: () => out.read(), tensors: [x, out] };
    },
  };
}

/** What reads and writes as much as any of them may. */
export const rowsCopy = overRows({ name: 'copy', row: (x) => x, run: (x, out) => contiguous(x, { out }) });

/** Four arithmetic operations and an exponential. */
export const mapped = overRows({
  name: 'map',
  row: (x) => x.map((value) => Math.exp(value * 0.5 + 0.25) * 2 - value),
  run: (x, out) => map((value) => Math.exp(value * 0.5 + 0.25) * 2 - value, x, { out }),
});

export const softmaxRows = overRows({
  name: 'softmax',
  row(x) {
    const largest = x.reduce((most, value) => Math.max(most, value), -Infinity);
    const powers = x.map((value) => Math.exp(value - largest));
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((value) => value / total);
  },
  run: (x, out) => softmax(x, { out }),
});

export const layerNormRows = overRows({
  name: 'layer norm',
  row(x) {
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((value) => (value - mean) / Math.sqrt(variance + 1e-5));
  },
  run: (x, out) => layerNorm(x, { out }),
});

export const lastSums = overRows(
  { name: 'sum, last axis', row: (x) => [x.reduce((a, b) => a + b, 0)], run: (x, out) => sum(x, { axes: [1], out }) },
  () => 1,
);

export const firstSums: Operation = {
  name: 'sum, first axis',
  flops: () => 0,
  size: ({ d }) => d,
  bytes: ({ n, d }) => 4 * (n + 1) * d,
  expected({ n, d }, { q }) {
    const numbers = new Float64Array(d);
    for (let at = 0; at < n * d; at++) numbers[at % d]! += q[at]!;
    return [{ known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest result' }];
  },
  open(runtime, { problem: { n, d }, inputs }) {
    const x = runtime.tensor(inputs.q, [n, d]);
    const out = runtime.tensor(new Float32Array(d).fill(Number.NaN), [d]);
    return { call: () => void sum(x, { axes: [0], out }), result: () => out.read(), tensors: [x, out] };
  },
};

/** Columns of the second matrix. */
const COLUMNS = 3072;

/** a [n, d] times b [d, 3072]; with a bias and GELU in the same call, or without. */
export function product(isFused: boolean): Operation {
  return {
    name: isFused ? 'matmul, bias and GELU' : 'matmul',
    flops: ({ n, d }) => 2 * n * d * COLUMNS,
    size: ({ n }) => n * COLUMNS,
    bytes: ({ n, d }) => 4 * (n * d + d * COLUMNS + n * COLUMNS),
    expected({ n, d }, { q }) {
      const [b, bias] = [weightsOf(d), biasOf()];
      return expectedRows(someOf(n), COLUMNS, (row, column) => {
        let value = isFused ? bias[column]! : 0;
        for (let k = 0; k < d; k++) value += q[row * d + k]! * b[k * COLUMNS + column]!;
        return isFused ? gelu(value) : value;
      });
    },
    open(runtime, { problem: { n, d }, inputs }) {
      const a = runtime.tensor(inputs.q, [n, d]);
      const b = runtime.tensor(weightsOf(d), [d, COLUMNS]);
      const bias = runtime.tensor(biasOf(), [COLUMNS]);
      const out = runtime.tensor(new Float32Array(n * COLUMNS).fill(Number.NaN), [n, COLUMNS]);
      const epilogue = elementwise((x, { gelu }) => gelu(x));
      const options = isFused ? { bias, epilogue, out } : { out };
      return { call: () => void matmul(a, b, options), result: () => out.read(), tensors: [a, b, bias, out] };
    },
  };
}

/** The gradients with respect to a and b of a product, from one with respect to it. */
export const productGradients: Operation = {
  name: 'gradients of matmul',
  flops: ({ n, d }) => 4 * n * d * COLUMNS,
  size: ({ n, d }) => n * d + d * COLUMNS,
  bytes: ({ n, d }) => 4 * (2 * n * d + 2 * d * COLUMNS + n * COLUMNS),
  expected({ n, d }, { q }) {
    const [b, gradOut] = [weightsOf(d), gradientsOf(n)];
    const gradA = expectedRows(someOf(n), d, (row, column) => {
      let value = 0;
      for (let c = 0; c < COLUMNS; c++) value += gradOut[row * COLUMNS + c]! * b[column * COLUMNS + c]!;
      return value;
    });
    const gradB = expectedRows(someOf(d), COLUMNS, (row, column) => {
      let value = 0;
      for (let r = 0; r < n; r++) value += q[r * d + row]! * gradOut[r * COLUMNS + column]!;
      return value;
    });
    const behind = gradB.map((each) => ({ ...each, known: each.known.map((k) => ({ ...k, at: n * d + k.at })) }));
    return [...gradA, ...behind];
  },
  open(runtime, { problem: { n, d }, inputs }) {
    const a = runtime.tensor(inputs.q, [n, d]);
    const b = runtime.tensor(weightsOf(d), [d, COLUMNS]);
    const gradOut = runtime.tensor(gradientsOf(n), [n, COLUMNS]);
    const gradA = runtime.tensor(new Float32Array(n * d).fill(Number.NaN), [n, d]);
    const gradB = runtime.tensor(new Float32Array(d * COLUMNS).fill(Number.NaN), [d, COLUMNS]);
    return {
      call() {
        matmul(gradOut, b, { transposeB: true, out: gradA });
        matmul(a, gradOut, { transposeA: true, out: gradB });
      },
      async result() {
        const joined = new Float32Array(n * d + d * COLUMNS);
        joined.set(await gradA.read());
        joined.set(await gradB.read(), n * d);
        return joined;
      },
      tensors: [a, b, gradOut, gradA, gradB],
    };
  },
};

/** x times the share of a standard normal distribution below x. */
function gelu(x: number): number {
  return (x / 2) * (1 + erf(x / Math.SQRT2));
}

function erf(x: number): number {
  // The integral of the density, by Simpson's rule in steps that leave an error far below float32.
  const steps = 400;
  const width = Math.min(6, Math.abs(x)) / steps;
  let sum = 0;
  for (let at = 0; at <= steps; at++) {
    const weight = at === 0 || at === steps ? 1 : at % 2 === 1 ? 4 : 2;
    sum += weight * Math.exp(-((at * width) ** 2));
  }
  return (Math.sign(x) * 2 * width * sum) / (3 * Math.sqrt(Math.PI));
}

const weightsOf = (d: number) => normal(d * COLUMNS, 5).map((value) => value / Math.sqrt(d));
const biasOf = () => normal(COLUMNS, 6);
const gradientsOf = (n: number) => normal(n * COLUMNS, 7);

function expectedRows(
  rows: readonly number[],
  columns: number,
  valueAt: (row: number, column: number) => number,
): Expected[] {
  const known = rows.map((row) => ({
    at: row * columns,
    numbers: Float64Array.from({ length: columns }, (_, column) => valueAt(row, column)),
  }));
  return [{ known, largest: Math.max(...known.map(({ numbers }) => largestOf(numbers))), of: 'largest result' }];
}
