/** Convolutions of pictures, forward alone and with their gradients. */
import { conv } from '../ops/conv';
import { tapsInside } from '../ops/conv/call';
import { createRuntime } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { pullback } from '../tape';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { known, knownRows } from './expected';
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

const extentsOf = ({ rows, columns, channels, outputs, kernel, groups, stride }: ConvShape) => ({
  x: [1, rows, columns, channels],
  weight: [outputs, channels / groups, kernel, kernel],
  out: [Math.ceil(rows / stride), Math.ceil(columns / stride), outputs] as const,
});

/** Rows of the result that are checked. */
const rowsOf = ([height]: readonly number[]) => [
  ...new Set([0, Math.floor((height as number) / 2), (height as number) - 1]),
];

/** Channels last; peers get channels first. */
export function convOperation(name: string, shape: ConvShape, hasGradients = false): Operation {
  const { rows, columns, channels, outputs, kernel, stride, groups } = shape;
  const { x: ofX, weight: ofWeight, out } = extentsOf(shape);
  const side = (kernel - 1) / 2;
  const options = { groups, stride, padding: side };
  const numbers = {
    x: () => normal(rows * columns * channels, 1),
    weight: () => normal((outputs * channels * kernel * kernel) / groups, 2).map((value) => value / kernel),
    gradOut: () => normal(out[0] * out[1] * outputs, 3),
  };
  const inputs = (runtime: Runtime) => ({
    x: runtime.tensor(numbers.x(), ofX),
    weight: runtime.tensor(numbers.weight(), ofWeight),
    gradOut: runtime.tensor(numbers.gradOut(), [1, ...out]),
  });
  const run = ({ x, weight, gradOut }: Readonly<Record<'x' | 'weight' | 'gradOut', Tensor>>): readonly Tensor[] => {
    if (!hasGradients) return [conv(x, weight, options)];
    const { results, pull } = pullback((given) => conv(given.x, given.weight, options), { x, weight });
    const gradients = pull(gradOut);
    results.dispose();
    return [gradients.x, gradients.weight];
  };
  const macs = (outputs * channels * tapsInside(rows, kernel, stride) * tapsInside(columns, kernel, stride)) / groups;
  const results = out[0] * out[1] * outputs;
  const operands = rows * columns * channels + (outputs * channels * kernel * kernel) / groups;
  return {
    name,
    flops: () => (hasGradients ? 6 : 2) * macs,
    size: () => (hasGradients ? operands : results),
    bytes: () => 4 * (operands + results) * (hasGradients ? 2 : 1),
    async expected() {
      using runtime = await createRuntime({ backend: 'reference' });
      const given = inputs(runtime);
      if (hasGradients) return [known(await joined(run(given)), 'largest gradient')];
      const some = rowsOf(out);
      const parts = some.map((row) => {
        const [first, past] = [row * stride - side, row * stride + side + 1];
        const [from, to] = [Math.max(0, first), Math.min(rows, past)];
        const padding = [[from - first, past - to], side] as const;
        return conv(given.x.slice(1, from, to), given.weight, { ...options, padding, stride: [1, stride] }).read();
      });
      const values = (await Promise.all(parts)).flatMap((part) => [...part]);
      return [knownRows(Float64Array.from(values), some)];
    },
    ...(!hasGradients && {
      given: () => ({
        tensors: {
          x: hostTensor(Float32Array.from(numbers.x()), ofX),
          weight: hostTensor(Float32Array.from(numbers.weight()), ofWeight),
        },
        settings: { ...shape, height: out[0], width: out[1] },
      }),
    }),
    open(runtime) {
      const given = inputs(runtime);
      let last: readonly Tensor[] = [];
      const dispose = () => {
        for (const tensor of last) tensor.dispose();
      };
      return {
        call() {
          dispose();
          last = run(given);
        },
        result: () => joined(last),
        tensors: [...Object.values(given), { dispose }],
      };
    },
  };
}
