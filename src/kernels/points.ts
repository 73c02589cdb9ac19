/** Points and targets, checked before anything is fitted to them. */
import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkFloat32 } from '../ops/float32';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { formatBytes } from '../text/format';

/** Points [n, p] and targets [n, c], read. */
export interface ReadPoints {
  readonly n: number;
  readonly p: number;
  readonly c: number;
  readonly x: Float32Array;
  readonly y: Float32Array;
}

/**
 * The numbers of points x [n, p] and targets y [n, c].
 *
 * @throws {ShapeError} other shapes
 * @throws {ParameterError} a number that is not finite, by row and column
 */
export async function readPoints(op: string, x: Tensor, y: Tensor): Promise<ReadPoints> {
  checkFloat32(op, { x, y }, {});
  if (x.rank !== 2 || y.rank !== 2 || x.shape[0] !== y.shape[0])
    throw new ShapeError(
      `x and y must have shapes [n, p] and [n, c], got ${formatShape(x.shape)} and ${formatShape(y.shape)}`,
    );
  const [n, p] = x.shape as [number, number];
  const c = y.shape[1] as number;
  const [points, targets] = (await Promise.all([x.read(), y.read()])) as [Float32Array, Float32Array];
  checkFinite('x', points, p);
  checkFinite('y', targets, c);
  return { n, p, c, x: points, y: targets };
}

/** @throws {ParameterError} rows of `width` numbers of which one is not finite */
function checkFinite(name: string, values: ArrayLike<number>, width: number): void {
  for (let at = 0; at < values.length; at++)
    if (!Number.isFinite(values[at]))
      throw new ParameterError(
        `${name} must hold finite numbers, got ${values[at]} in row ${Math.floor(at / width)}, column ${at % width}`,
      );
}

/** @throws {ParameterError} a ridge that is no finite number >= 0 */
export function checkRidge(name: string, ridge: unknown): void {
  if (!(Number.isFinite(ridge) && (ridge as number) >= 0))
    throw new ParameterError(`${name} must be a finite number >= 0, got ${show(ridge)}`);
}

/** Half the distance from 1 to the next number of an element type. */
const EPSILON = { f32: 2 ** -24, f64: 2 ** -53 } as const;

/**
 * @throws {ParameterError} a ridge above 0 that adds nothing to a diagonal as large as this; without a ridge, points that are
 * equal
 */
export function checkDiagonal(
  name: string,
  ridge: number,
  dtype: 'f32' | 'f64',
  largest: number,
  points: Pick<ReadPoints, 'x' | 'p'>,
): void {
  const least = largest * EPSILON[dtype];
  if (ridge > 0 && ridge < least)
    throw new ParameterError(
      `${name} must be 0 or at least ${least.toPrecision(2)}, since ${dtype === 'f32' ? 'float32' : 'float64'} cannot add less to a diagonal of ${largest.toPrecision(3)}, got ${ridge}`,
    );
  const equal = ridge > 0 ? undefined : equalRows(points);
  if (equal)
    throw new ParameterError(
      `points ${equal[0]} and ${equal[1]} of x are equal, so that their kernel matrix is singular: leave one out, or give a ${name} above 0`,
    );
}

/** The first two rows that are equal. */
function equalRows({ x, p }: Pick<ReadPoints, 'x' | 'p'>): readonly [number, number] | undefined {
  const seen = new Map<string, number>();
  for (let row = 0; row < x.length / p; row++) {
    const key = x.subarray(row * p, (row + 1) * p).join();
    const earlier = seen.get(key);
    if (earlier !== undefined) return [earlier, row];
    seen.set(key, row);
  }
  return undefined;
}

/** What a heap of WebAssembly can hold, which is also about what one would want to wait for. */
const MEMORY = 2 ** 32;

/** @throws {ParameterError} matrices that no memory is enough for */
export function checkMemory(what: string, bytes: number, remedy: string): void {
  if (bytes > MEMORY)
    throw new ParameterError(
      `${what} would take ${formatBytes(bytes)}, and there are ${formatBytes(MEMORY)} at most: ${remedy}`,
    );
}
