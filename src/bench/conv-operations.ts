/** Convolutions of pictures and their gradients, and the matrix product that multiplies as often. */
import { conv, convTranspose } from '../ops/conv';
import { tapsInside } from '../ops/conv/call';
import { createRuntime } from '../ops/create-runtime';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { knownRows, someOf } from './expected';
import { joined } from './operation';
import type { Operation } from './problem';

/** Square kernels, with as many zeros around the picture as make results of as many places at stride 1. */
export interface ConvShape {
  readonly rows: number;
  readonly columns: number;
  readonly channels: number;
  readonly outputs: number;
  readonly kernel: number;
  readonly stride: number;
  readonly groups: number;
}

/** What is computed: the result, or its gradient with respect to x or weight. */
export type ConvPart = 'out' | 'x' | 'weight';

type Tensors = Readonly<Record<'x' | 'weight' | 'gradOut', Tensor>>;

/** One part, and some of its rows: indices of its first axis but for the batch. */
interface Part {
  run(given: Tensors): Tensor;
  /** How many rows there are. */
  readonly rows: number;
  rowOf(given: Tensors, row: number): Tensor;
}

const extentsOf = ({ rows, columns, channels, outputs, kernel, groups, stride }: ConvShape) => ({
  x: [1, rows, columns, channels],
  weight: [outputs, channels / groups, kernel, kernel],
  gradOut: [1, Math.ceil(rows / stride), Math.ceil(columns / stride), outputs],
});

/** Multiplications of elements of x, those of padding left out. */
const multiplications = ({ rows, columns, channels, outputs, kernel, stride, groups }: ConvShape): number =>
  (outputs * channels * tapsInside(rows, kernel, stride) * tapsInside(columns, kernel, stride)) / groups;

function partOf(part: ConvPart, shape: ConvShape): Part {
  const { rows, columns, outputs, kernel, stride, groups } = shape;
  const [, height, width] = extentsOf(shape).gradOut as [number, number, number, number];
  const side = (kernel - 1) / 2;
  /** Elements beyond the last one that the last result reads. */
  const beyond = (extent: number, count: number) => (count - 1) * stride + kernel - side - extent;
  if (part === 'out')
    return {
      run: ({ x, weight }) => conv(x, weight, { groups, stride, padding: side }),
      rows: height,
      rowOf({ x, weight }, row) {
        const [first, past] = [row * stride - side, row * stride + side + 1];
        const [from, to] = [Math.max(0, first), Math.min(rows, past)];
        const padding = [[from - first, past - to], side] as const;
        return conv(x.slice(1, from, to), weight, { groups, padding, stride: [1, stride] });
      },
    };
  if (part === 'x') {
    const more = [side - beyond(rows, height), side - beyond(columns, width)] as const;
    return {
      run: ({ weight, gradOut }) =>
        convTranspose(gradOut, weight, { groups, stride, padding: side, outputPadding: more }),
      rows,
      rowOf({ weight, gradOut }, row) {
        const from = Math.max(0, Math.ceil((row + side - kernel + 1) / stride));
        const to = Math.min(height, Math.floor((row + side) / stride) + 1);
        const before = row + side - from * stride;
        const padding = [[before, (to - from - 1) * stride + kernel - 1 - before], side] as const;
        return convTranspose(gradOut.slice(1, from, to), weight, {
          groups,
          stride,
          padding,
          outputPadding: [0, more[1]],
        });
      },
    };
  }
  // A convolution with the gradient for a kernel: as the tape computes it, but that the result's layout is that of pictures.
  const padding = [
    [side, beyond(rows, height)],
    [side, beyond(columns, width)],
  ] as const;
  const byWeight = (x: Tensor, gradOut: Tensor) => {
    const kernels = gradOut.permute([3, 0, 1, 2]);
    if (groups > 1)
      return conv(x, kernels, { groups: x.shape[3] as number, padding, dilation: stride }).permute([3, 0, 1, 2]);
    return conv(x.permute([3, 1, 2, 0]), kernels, { padding, dilation: stride }).permute([3, 0, 1, 2]);
  };
  return {
    run: ({ x, gradOut }) => byWeight(x, gradOut),
    rows: outputs,
    rowOf: ({ x, gradOut }, row) => byWeight(groups > 1 ? x.slice(3, row, row + 1) : x, gradOut.slice(3, row, row + 1)),
  };
}

/** Channels last; peers get channels first. Groups are one, or one for each channel. */
export function convOperation(name: string, part: ConvPart, shape: ConvShape): Operation {
  const extents = extentsOf(shape);
  const sizes = { x: sizeOf(extents.x), weight: sizeOf(extents.weight), out: sizeOf(extents.gradOut) };
  const numbers = {
    x: () => Float32Array.from(normal(sizes.x, 1)),
    weight: () => Float32Array.from(normal(sizes.weight, 2), (value) => value / shape.kernel),
    gradOut: () => Float32Array.from(normal(sizes.out, 3)),
  };
  const names = (['x', 'weight', 'gradOut'] as const).filter((each) => each !== (part === 'out' ? 'gradOut' : part));
  const inputs = (runtime: Runtime) =>
    Object.fromEntries(
      names.map((each) => [each, runtime.tensor(numbers[each](), extents[each])]),
    ) as unknown as Tensors;
  const { run, rows, rowOf } = partOf(part, shape);
  return {
    name,
    flops: () => 2 * multiplications(shape),
    size: () => sizes[part],
    bytes: () => 4 * (sizes.x + sizes.weight + sizes.out),
    async expected() {
      using runtime = await createRuntime({ backend: 'reference' });
      const given = inputs(runtime);
      const some = [...new Set([0, Math.floor(rows / 2), rows - 1])];
      const parts = await Promise.all(some.map(async (row) => (await rowOf(given, row).toHost()).data as Float64Array));
      return [knownRows(Float64Array.from(parts.flatMap((each) => [...each])), some)];
    },
    given: () => ({
      tensors: Object.fromEntries(names.map((each) => [each, hostTensor(numbers[each](), extents[each])])),
      settings: { ...shape, part, height: extents.gradOut[1], width: extents.gradOut[2] },
    }),
    open(runtime) {
      const given = inputs(runtime);
      let last: Tensor | undefined;
      const dispose = () => last?.dispose();
      return {
        call() {
          dispose();
          last = run(given);
        },
        result: async () => Float32Array.from((await (last as Tensor).toHost()).data as Float32Array),
        tensors: [...Object.values(given), { dispose }],
      };
    },
  };
}

/** A matrix product of as many multiplications as a convolution of some pixels has. */
export function productBeside(name: string, shape: ConvShape): Operation {
  const { channels, outputs, kernel } = shape;
  const terms = channels * kernel ** 2;
  const pixels = Math.round(multiplications(shape) / terms / outputs);
  const matrices = (runtime: Runtime) => ({
    a: runtime.random([pixels, terms], { seed: 1 }),
    b: runtime.random([terms, outputs], { seed: 2 }),
  });
  return {
    name,
    flops: () => 2 * pixels * terms * outputs,
    size: () => pixels * outputs,
    bytes: () => 4 * (pixels * terms + terms * outputs + pixels * outputs),
    async expected() {
      using runtime = await createRuntime({ backend: 'reference' });
      const { a, b } = matrices(runtime);
      const some = someOf(pixels);
      const parts = await Promise.all(some.map((row) => matmul(a.slice(0, row, row + 1), b).read()));
      return [knownRows(Float64Array.from(parts.flatMap((each) => [...each])), some)];
    },
    open(runtime) {
      const { a, b } = matrices(runtime);
      let last: Tensor<'f32'> | undefined;
      const dispose = () => last?.dispose();
      return {
        call() {
          dispose();
          last = matmul(a, b);
        },
        result: () => joined([last as Tensor]),
        tensors: [a, b, { dispose }],
      };
    },
  };
}
