/** Functions of each element on its own. */
import { ShapeError } from '../errors';
import type { Binary, Unary } from '../runtime/backend';
import { formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { compute } from './compute';
import { checkContiguous, checkFloat32, type ResultOptions } from './float32';

/** max(x, 0) for every element of x; f32, contiguous. */
export function relu(x: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return unary('relu', x, options);
}

/** The hyperbolic tangent of every element of x; f32, contiguous. */
export function tanh(x: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return unary('tanh', x, options);
}

/**
 * a + b; f32, contiguous. The shape of b is that of a or ends it, such as a bias [c] for a [n, c]: b is then repeated
 * along the leading axes.
 */
export function add(a: Tensor, b: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return binary('add', a, b, options);
}

/** a b, elementwise; f32, contiguous. The shape of b is that of a or ends it, as for `add`. */
export function multiply(a: Tensor, b: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return binary('multiply', a, b, options);
}

async function unary(operation: Unary, x: Tensor, options: ResultOptions): Promise<Tensor<'f32'>> {
  checkFloat32(operation, { x }, options);
  checkContiguous({ x });
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const { out } = await compute({ x }, { out: spec }, (backend, results) =>
    backend.unary({ operation, x, out: results.out }, options),
  );
  return out;
}

async function binary(operation: Binary, a: Tensor, b: Tensor, options: ResultOptions): Promise<Tensor<'f32'>> {
  checkFloat32(operation, { a, b }, options);
  checkContiguous({ a, b });
  if (b.rank > a.rank || !sameShape(a.shape.slice(a.rank - b.rank), b.shape))
    throw new ShapeError(
      `b must have the shape of a ${formatShape(a.shape)} or its last extents, got ${formatShape(b.shape)}`,
    );
  const spec = { shape: a.shape, dtype: 'f32', given: options.out } as const;
  const { out } = await compute({ a, b }, { out: spec }, (backend, results) =>
    backend.binary({ operation, a, b, out: results.out }, options),
  );
  return out;
}
