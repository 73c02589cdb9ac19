/** Ops of matrices that other libraries have too: each is one call there, as here. */
import { cast, contiguous } from '../ops/copy';
import { createRuntime } from '../ops/create-runtime';
import { add, gelu } from '../ops/map';
import { matmul } from '../ops/matmul';
import { layerNorm } from '../ops/norm';
import { max, sum } from '../ops/reduce';
import { softmax } from '../ops/softmax';
import type { Runtime } from '../runtime/runtime';
import { bytesPerElement } from '../tensor/dtype';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import { normal } from '../tensor/random';
import { type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { known } from './expected';
import type { Operation, Problem } from './problem';

type Float = 'f32' | 'f16' | 'bf16';

interface Shared {
  readonly label: string;
  /** Element types of x and of the result. Default: f32. */
  readonly from?: Float;
  readonly to?: Float;
  /** Whether it takes a second matrix. */
  readonly isBinary?: boolean;
  /** The result's shape for x [n, d]; default: that of x. */
  shape?(n: number, d: number): Shape;
  /** Useful multiplications and additions, where they count and not bytes. */
  flops?(n: number, d: number): number;
  run(x: Tensor, y: Tensor | undefined): Tensor;
}

/** By the names that peers know them by. */
const SHARED = {
  'f32-f16': { label: 'f32 to f16', to: 'f16', run: (x) => cast(x, 'f16') },
  'f32-bf16': { label: 'f32 to bf16', to: 'bf16', run: (x) => cast(x, 'bf16') },
  'f16-f32': { label: 'f16 to f32', from: 'f16', run: (x) => cast(x, 'f32') },
  'row-sums': { label: 'sums of rows', shape: (n) => [n], run: (x) => sum(x, { axes: [1] }) },
  'row-maxima': { label: 'maxima of rows', shape: (n) => [n], run: (x) => max(x, { axes: [1] }) },
  'sum-all': { label: 'sum of all', shape: () => [], run: (x) => sum(x) },
  transpose: { label: 'transpose', shape: (n, d) => [d, n], run: (x) => contiguous(x.permute([1, 0])) },
  add: { label: 'add', isBinary: true, run: (x, y) => add(x, y as Tensor) },
  gelu: { label: 'GELU', run: (x) => gelu(x) },
  'softmax-rows': { label: 'softmax of rows', run: (x) => softmax(x) },
  'layer-norm-rows': { label: 'layer norm of rows', run: (x) => layerNorm(x) },
  product: {
    label: 'product',
    isBinary: true,
    flops: (n, d) => 2 * n * d * d,
    run: (x, y) => matmul(x, y as Tensor),
  },
} satisfies Readonly<Record<string, Shared>>;

export type SharedName = keyof typeof SHARED;

/** An op of x [n, d], of a head, and another matrix; [d, d] of a product, which has only square ones. */
export function sharedOperation(name: SharedName): Operation & { readonly label: string } {
  const { label, from = 'f32', to = 'f32', isBinary = false, shape, flops, run }: Shared = SHARED[name];
  const shapeOf = ({ n, d }: Problem) => shape?.(n, d) ?? [n, d];
  const tensorsOf = ({ n, d }: Problem): Record<string, HostTensor<'f32'>> => ({
    x: hostTensor(normal(n * d, 1), [n, d]),
    ...(isBinary && { y: hostTensor(normal(n * d, 2), [n, d]) }),
  });
  const operands = (runtime: Runtime, problem: Problem) => {
    const { x, y } = tensorsOf(problem);
    using given = runtime.fromHost(x as HostTensor<'f32'>);
    return { x: cast(given, from), y: y && runtime.fromHost(y) };
  };
  return {
    name,
    label,
    flops: ({ n, d }) => flops?.(n, d) ?? 0,
    bytes(problem) {
      const { n, d } = problem;
      return n * d * (bytesPerElement(from) + (isBinary ? 4 : 0)) + sizeOf(shapeOf(problem)) * bytesPerElement(to);
    },
    size: (problem) => sizeOf(shapeOf(problem)),
    given: (problem) => ({ tensors: tensorsOf(problem), settings: { op: name, n: problem.n, d: problem.d } }),
    async expected(problem) {
      using runtime = await createRuntime({ backend: 'reference' });
      const { x, y } = operands(runtime, problem);
      return [known(toFloat64(await run(x, y).toHost()), 'largest result')];
    },
    open(runtime, { problem }) {
      const { x, y } = operands(runtime, problem);
      let last: Tensor | undefined;
      const dispose = () => last?.dispose();
      return {
        call() {
          dispose();
          last = run(x, y);
        },
        result: async () => Float32Array.from(toFloat64(await (last as Tensor).toHost())),
        tensors: [x, ...(y ? [y] : []), { dispose }],
      };
    },
  };
}
