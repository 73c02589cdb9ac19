/** Ops on rows x [n, d], limited by memory bandwidth, and matrix products, limited by arithmetic. */
import { contiguous } from '../ops/copy';
import { elementwise, map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { layerNorm } from '../ops/norm';
import { sum } from '../ops/reduce';
import { softmax } from '../ops/softmax';
import type { Runtime } from '../runtime/runtime';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { knownRows, someOf } from './expected';
import { onReference, pick, tensorOperation } from './operation';
import type { Operation, Task } from './problem';

/** An op with a result for each row, of as many numbers or of one; some rows are checked. */
function overRows(
  name: string,
  run: (x: Tensor<'f32'>, options: { readonly out?: Tensor<'f32'> }) => Tensor,
  columnsOf = (d: number) => d,
): Operation {
  return tensorOperation({
    name,
    bytes: ({ n, d }) => 4 * n * (d + columnsOf(d)),
    async expected({ n, d }, { q }) {
      const rows = someOf(n);
      return [knownRows(await onReference((runtime) => run(pick(runtime, q, [1, n, d], rows), {})), rows)];
    },
    outputs: ({ n, d }) => ({ out: columnsOf(d) === 1 ? [n] : [n, columnsOf(d)] }),
    operands: rowsOf,
    run: ({ x, out }) => run(x, { out }),
  });
}

const rowsOf = (runtime: Runtime, { problem: { n, d }, inputs: { q } }: Task) => ({ x: runtime.tensor(q, [n, d]) });

/** Reads and writes as much as any of them. */
export const rowsCopy = overRows('copy', (x, options) => contiguous(x, options));
/** Four arithmetic operations and an exponential. */
export const mapped = overRows('map', (x, options) =>
  map((value) => Math.exp(value * 0.5 + 0.25) * 2 - value, x, options),
);
export const softmaxRows = overRows('softmax', (x, options) => softmax(x, options));
export const layerNormRows = overRows('layer norm', (x, options) => layerNorm(x, options));
export const lastSums = overRows(
  'sum, last axis',
  (x, options) => sum(x, { axes: [1], ...options }),
  () => 1,
);

export const firstSums = tensorOperation({
  name: 'sum, first axis',
  bytes: ({ n, d }) => 4 * (n + 1) * d,
  outputs: ({ d }) => ({ out: [d] }),
  operands: rowsOf,
  run: ({ x, out }) => sum(x, { axes: [0], out }),
});

/** Columns of the second matrix. */
const COLUMNS = 3072;
const weights = (runtime: Runtime, d: number) =>
  runtime.tensor(
    normal(d * COLUMNS, 5).map((value) => value / Math.sqrt(d)),
    [d, COLUMNS],
  );
const gradients = (n: number) => normal(n * COLUMNS, 7);

/** a [n, d] times b [d, 3072]; with a bias and GELU in the same call, or without. */
export function product(isFused: boolean): Operation {
  const epilogue = elementwise((x, { gelu }) => gelu(x));
  const others = (runtime: Runtime, d: number) => ({
    b: weights(runtime, d),
    bias: runtime.tensor(normal(COLUMNS, 6), [COLUMNS]),
  });
  const multiply = (a: Tensor, { b, bias, out }: Record<'b' | 'bias', Tensor> & { readonly out?: Tensor<'f32'> }) =>
    matmul(a, b, isFused ? { bias, epilogue, out } : { out });
  return tensorOperation({
    name: isFused ? 'matmul, bias and GELU' : 'matmul',
    flops: ({ n, d }) => 2 * n * d * COLUMNS,
    bytes: ({ n, d }) => 4 * (n * d + d * COLUMNS + n * COLUMNS),
    async expected({ n, d }, { q }) {
      const rows = someOf(n);
      const numbers = await onReference((runtime) => multiply(pick(runtime, q, [1, n, d], rows), others(runtime, d)));
      return [knownRows(numbers, rows)];
    },
    outputs: ({ n }) => ({ out: [n, COLUMNS] }),
    operands: (runtime, task) => ({ ...rowsOf(runtime, task), ...others(runtime, task.problem.d) }),
    run: ({ x, ...others }) => multiply(x, others),
  });
}

/** The gradients with respect to x [n, d] and b [d, 3072] of their product, from one with respect to it. */
export const productGradients = tensorOperation({
  name: 'gradients of matmul',
  flops: ({ n, d }) => 4 * n * d * COLUMNS,
  bytes: ({ n, d }) => 4 * (2 * n * d + 2 * d * COLUMNS + n * COLUMNS),
  async expected({ n, d }, { q }) {
    const [ofX, ofB] = [someOf(n), someOf(d)];
    const gradOut = gradients(n);
    const gradX = await onReference((runtime) =>
      matmul(pick(runtime, gradOut, [1, n, COLUMNS], ofX), weights(runtime, d), { transposeB: true }),
    );
    const gradB = await onReference((runtime) =>
      matmul(pick(runtime, q, [n, d, 1], ofB), runtime.tensor(gradOut, [n, COLUMNS]), { transposeA: true }),
    );
    return [knownRows(gradX, ofX), knownRows(gradB, ofB, { from: n * d })];
  },
  outputs: ({ n, d }) => ({ gradX: [n, d], gradB: [d, COLUMNS] }),
  operands: (runtime, task) => ({
    ...rowsOf(runtime, task),
    b: weights(runtime, task.problem.d),
    gradOut: runtime.tensor(gradients(task.problem.n), [task.problem.n, COLUMNS]),
  }),
  run({ x, b, gradOut, gradX, gradB }) {
    matmul(gradOut, b, { transposeB: true, out: gradX });
    matmul(x, gradOut, { transposeA: true, out: gradB });
  },
});
