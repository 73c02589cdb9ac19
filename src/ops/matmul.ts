import { ShapeError } from '../errors';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { compute } from './compute';
import { checkFloat32, type ResultOptions } from './float32';

/**
 * The matrix product a b: a [..., r, k], b [k, c] -> [..., r, c], f32.
 *
 * Strided views are taken as they are; the leading axes of an `a` of rank 3 or more must lie in memory as one.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {DTypeError} an input that is not f32
 */
export async function matmul(a: Tensor, b: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  checkFloat32('matmul', { a, b }, options);
  if (a.rank < 2) throw new ShapeError(`a must have shape [..., r, k], got ${formatShape(a.shape)}`);
  const inner = a.shape.at(-1) as number;
  if (b.rank !== 2 || b.shape[0] !== inner) {
    throw new ShapeError(
      `b must have shape [k, c] with k = ${inner} as in a ${formatShape(a.shape)}, got ${formatShape(b.shape)}`,
    );
  }
  using rows = flattenRows(a, inner);
  const columns = b.shape[1] as number;
  const spec = { shape: [...a.shape.slice(0, -1), columns], dtype: 'f32', given: options.out } as const;
  const { out } = await compute({ a, b }, { out: spec }, options, async (backend, results, control) => {
    using outRows = results.out.reshape([-1, columns]);
    await backend.matmul({ a: rows, b, out: outRows }, control);
  });
  return out;
}

/** a [..., r, k] as a view [rows, k]. */
function flattenRows(a: Tensor, inner: number): Tensor {
  try {
    return a.reshape([-1, inner]);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new ShapeError(
      `the leading axes of a ${formatShape(a.shape)} must lie in memory as one, got strides ${formatShape(a.strides)}`,
    );
  }
}
