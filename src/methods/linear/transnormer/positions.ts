/**
 * LRPE, the positions of TransNormer, on the tensors' own runtime: a reflection of each row, then a turn of each pair of
 * channels by the position of the token.
 */
import { add, multiply, subtract } from '../../../ops/elementwise';
import { matmul } from '../../../ops/matmul';
import type { Control } from '../../../runtime/backend';
import type { Temporaries } from '../../../tensor/temporaries';
import type { Tensor } from '../../../tensor/tensor';
import type { Positions } from './settings';

export interface Encoded {
  /** [b, n, h, d]. */
  readonly x: Tensor;
  /** The gradients by the rows before and by theta, from that by `x`. */
  byRows(grad: Tensor): Promise<Tensor>;
  byTheta(grad: Tensor): Promise<Tensor>;
}

/** Rows x [b, n, h, d], contiguous; all that is made belongs to `temporaries`. */
export async function encode(
  x: Tensor,
  positions: Positions,
  { signal }: Control,
  temporaries: Temporaries,
): Promise<Encoded> {
  const own = <T extends Tensor>(made: T | Promise<T>) => temporaries.own(made);
  const control = { signal };
  const { runtime } = x;
  const [b, n, h, d] = x.shape as [number, number, number, number];
  const { reflection, halfTurned } = matricesOf(positions, d);
  const across = await own(runtime.tensor(reflection, [d, d]));
  const turned = await own(runtime.tensor(halfTurned, [d, d]));
  const [cos, sin] = await Promise.all([Math.cos, Math.sin].map((of) => own(runtime.tensor(table(of), [n, h, d]))));
  const rows = await own(x.reshape([-1, d]));
  const times = async (a: Tensor, matrix: Tensor) => own((await own(matmul(a, matrix, control))).reshape(x.shape));
  const [reflected, half] = [await times(rows, across), await times(rows, turned)];
  const both = async (a: Tensor, p: Tensor, c: Tensor, q: Tensor) =>
    [await own(multiply(a, p, control)), await own(multiply(c, q, control))] as const;
  const result = await own(add(...(await both(reflected, cos as Tensor, half, sin as Tensor)), control));

  function table(of: (angle: number) => number): Float32Array {
    return Float32Array.from({ length: n * h * d }, (_, at) => {
      const [token, pair] = [Math.floor(at / (h * d)), (at % d) >> 1];
      return of(positions.of(token) * (positions.theta[pair] ?? 0));
    });
  }
  const flat = async (a: Tensor) => own(a.reshape([-1, d]));
  const back = async (a: Tensor, matrix: Tensor) =>
    own(matmul(await flat(a), await own(matrix.permute([1, 0])), control));
  return {
    x: result,
    async byRows(grad) {
      const [byReflected, byHalf] = await both(grad, cos as Tensor, grad, sin as Tensor);
      const byRows = await own(add(await back(byReflected, across), await back(byHalf, turned), control));
      return own(byRows.reshape(x.shape));
    },
    async byTheta(grad) {
      const slope = await own(subtract(...(await both(half, cos as Tensor, reflected, sin as Tensor)), control));
      const byAngles = await flat(await own(multiply(grad, slope, control)));
      const places = Float32Array.from({ length: b * n * h }, (_, row) => positions.of(Math.floor(row / h) % n));
      const byChannels = await own(matmul(await own(runtime.tensor(places, [1, b * n * h])), byAngles, control));
      const pairs = Math.floor(d / 2);
      const pairing = Float32Array.from({ length: d * pairs }, (_, at) =>
        Number(Math.floor(at / pairs) >> 1 === at % pairs),
      );
      const byTheta = await own(matmul(byChannels, await own(runtime.tensor(pairing, [d, pairs])), control));
      return own(byTheta.reshape([pairs]));
    },
  };
}

/** By which rows are multiplied for x reflected, and for that with each pair (a, b) of channels as (-b, a). */
function matricesOf({ direction }: Positions, d: number): Record<'reflection' | 'halfTurned', Float32Array> {
  const entry = (row: number, column: number) =>
    Number(row === column) - 2 * (direction[row] as number) * (direction[column] as number);
  const reflection = Float32Array.from({ length: d * d }, (_, at) => entry(Math.floor(at / d), at % d));
  const halfTurned = Float32Array.from({ length: d * d }, (_, at) => {
    const [row, column] = [Math.floor(at / d), at % d];
    const other = column ^ 1;
    if (other >= d) return 0;
    return column % 2 === 0 ? -entry(row, other) : entry(row, other);
  });
  return { reflection, halfTurned };
}
