/**
 * LRPE, the positions of TransNormer, on the tensors' own runtime: a reflection of each row, then a turn of each pair of
 * channels by the position of the token.
 */
import { contiguous } from '../../../ops/copy';
import { fromValues } from '../../../ops/from-values';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { withDerivative } from '../../../tape';
import type { Shape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { type Positions, positionsOf, type Rotations, type TransnormerParams } from './settings';

/** Rows x [b, n, h, d], contiguous; `before` is how many tokens came before those of all batches, or of each. */
export function encode(
  x: Tensor,
  { theta, reflection }: Rotations<Tensor>,
  params: TransnormerParams,
  control: Pick<Control, 'signal'>,
  before: readonly number[] = [0],
): Tensor {
  const { runtime } = x;
  const [, n, , d] = x.shape as [number, number, number, number];
  const rows = before.length;
  const tokenAt = (place: number) => (before[Math.floor(place / n)] as number) + (place % n);
  const made = (given: Rotations<Tensor>, shape: Shape, of: (positions: Positions) => Float64Array) =>
    Object.keys(given).length > 0
      ? fromValues(given as Record<string, Tensor>, shape, (values) => of(positionsOf(values, d, params)))
      : runtime.tensor(Float32Array.from(of(positionsOf({}, d, params))), shape);
  const times = (of: 'reflection' | 'halfTurned') => {
    const matrix = made(reflection ? { reflection } : {}, [d, d], (known) => matricesOf(known, d)[of]);
    return matmul(x.reshape([-1, d]), matrix, control).reshape(x.shape);
  };
  const table = (given: Rotations<Tensor>, of: (angle: number) => number) =>
    made(given, [rows, n, 1, d], ({ of: placeOf, theta }) =>
      Float64Array.from({ length: rows * n * d }, (_, at) =>
        of(placeOf(tokenAt(Math.floor(at / d))) * (theta[(at % d) >> 1] ?? 0)),
      ),
    );
  const tables = (given: Rotations<Tensor>) => ({ cos: table(given, Math.cos), sin: table(given, Math.sin) });
  // Angles are computed in float64, since they grow with the positions, so the derivative is given here.
  const learned = withDerivative(
    (theta: Tensor) => tables({ theta }),
    ({ results: { cos, sin }, gradients }) => {
      const { cos: gradCos, sin: gradSin } = gradients as typeof gradients & Record<'cos' | 'sin', Tensor>;
      const { of: placeOf } = positionsOf({}, d, params);
      const places = runtime.tensor(
        Array.from({ length: rows * n }, (_, at) => placeOf(tokenAt(at))),
        [rows, n, 1, 1],
      );
      const gradAngles = map(
        (place, byCos, bySin, cos, sin) => place * (bySin * cos - byCos * sin),
        ...([places, gradCos, gradSin, cos, sin] as const),
        control,
      );
      // A last channel without a pair has no angle.
      const pairs = Math.floor(d / 2);
      const ofPairs = contiguous(gradAngles.slice(3, 0, 2 * pairs)).reshape([rows * n, pairs, 2]);
      return [sum(ofPairs, { axes: [0, 2], ...control })];
    },
  );
  const { cos, sin } = theta ? learned(theta) : tables({});
  const [reflected, half] = [times('reflection'), times('halfTurned')];
  return map((reflected, half, cos, sin) => reflected * cos + half * sin, reflected, half, cos, sin, control);
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
