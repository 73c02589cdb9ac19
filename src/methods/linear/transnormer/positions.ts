/**
 * LRPE, the positions of TransNormer, on the tensors' own runtime: a reflection of each row, then a turn of each pair of
 * channels by the position of the token.
 */

import type { Values } from '../../../ops/compute';
import { fromValues } from '../../../ops/from-values';
import { add, multiply, subtract } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import type { Control } from '../../../runtime/backend';
import type { Shape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { Positions } from './settings';

export interface Encoded {
  /** [b, n, h, d]. */
  readonly x: Tensor;
  /** The gradients with respect to the rows before and by theta, from that by `x`. */
  byRows(grad: Tensor): Tensor;
  gradTheta(grad: Tensor): Tensor;
}

/** What the positions of rows follow from. */
interface Encoding {
  readonly given: Readonly<Record<string, Tensor>>;
  positions(values: Values): Positions;
}

/** Rows x [b, n, h, d], contiguous. */
export function encode(x: Tensor, { given, positions }: Encoding, { signal }: Control): Encoded {
  const control = { signal };
  const { runtime } = x;
  const [b, n, h, d] = x.shape as [number, number, number, number];
  const made = (shape: Shape, of: (positions: Positions) => Float64Array) =>
    Object.keys(given).length > 0
      ? fromValues(given, shape, (values) => of(positions(values)))
      : runtime.tensor(Float32Array.from(of(positions({}))), shape);
  const across = made([d, d], (known) => matricesOf(known, d).reflection);
  const turned = made([d, d], (known) => matricesOf(known, d).halfTurned);
  const [cos, sin] = [Math.cos, Math.sin].map((of) => made([n, h, d], (known) => table(known, of))) as [Tensor, Tensor];
  const rows = x.reshape([-1, d]);
  const times = (a: Tensor, matrix: Tensor) => matmul(a, matrix, control).reshape(x.shape);
  const [reflected, half] = [times(rows, across), times(rows, turned)];
  const both = (a: Tensor, p: Tensor, c: Tensor, q: Tensor) =>
    [multiply(a, p, control), multiply(c, q, control)] as const;

  function table({ of: placeOf, theta }: Positions, of: (angle: number) => number): Float64Array {
    return Float64Array.from({ length: n * h * d }, (_, at) => {
      const [token, pair] = [Math.floor(at / (h * d)), (at % d) >> 1];
      return of(placeOf(token) * (theta[pair] ?? 0));
    });
  }
  const flat = (a: Tensor) => a.reshape([-1, d]);
  const back = (a: Tensor, matrix: Tensor) => matmul(flat(a), matrix.permute([1, 0]), control);
  return {
    x: add(...both(reflected, cos, half, sin), control),
    byRows(grad) {
      const [gradReflected, gradHalf] = both(grad, cos, grad, sin);
      return add(back(gradReflected, across), back(gradHalf, turned), control).reshape(x.shape);
    },
    gradTheta(grad) {
      const slope = subtract(...both(half, cos, reflected, sin), control);
      const gradAngles = flat(multiply(grad, slope, control));
      const { of: placeOf } = positions({});
      const places = Float32Array.from({ length: b * n * h }, (_, row) => placeOf(Math.floor(row / h) % n));
      const gradChannels = matmul(runtime.tensor(places, [1, b * n * h]), gradAngles, control);
      const pairs = Math.floor(d / 2);
      const pairing = Float32Array.from({ length: d * pairs }, (_, at) =>
        Number(Math.floor(at / pairs) >> 1 === at % pairs),
      );
      return matmul(gradChannels, runtime.tensor(pairing, [d, pairs]), control).reshape([pairs]);
    },
  };
}

/** By which rows are multiplied for x reflected, and for that with each pair (a, b) of channels as (-b, a). */
function matricesOf({ direction }: Positions, d: number): Record<'reflection' | 'halfTurned', Float64Array> {
  const entry = (row: number, column: number) =>
    Number(row === column) - 2 * (direction[row] as number) * (direction[column] as number);
  const reflection = Float64Array.from({ length: d * d }, (_, at) => entry(Math.floor(at / d), at % d));
  const halfTurned = Float64Array.from({ length: d * d }, (_, at) => {
    const [row, column] = [Math.floor(at / d), at % d];
    const other = column ^ 1;
    if (other >= d) return 0;
    return column % 2 === 0 ? -entry(row, other) : entry(row, other);
  });
  return { reflection, halfTurned };
}
