/** Matrices of kernels, and products of them that never hold one. */
import { ShapeError } from '../errors';
import { concat } from '../ops/copy';
import { distances } from '../ops/distances';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import { add, multiply, reciprocal, subtract } from '../ops/map';
import { elementwise, map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { mean, sum } from '../ops/reduce';
import { recompute, stopGradient, withDerivative } from '../tape';
import { bindShapes, formatShape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import { arcCosineMatrix } from './arc-cosine';
import { type CheckedKernel, checkKernel, type Kernel } from './kernel';

/** Elements of a matrix that a product holds at a time, and the fewest rows. */
const TILE = 2 ** 20;
const FEWEST_ROWS = 32;

/**
 * The kernel of each pair of points, x [n, p] and y [m, p] -> [n, m]; f32, contiguous. Its gradients are with respect to points
 * and, where it is a tensor, the bandwidth. Gaussian and polynomial kernels are products of matrices, of points taken from
 * their mean; Laplace and Matern kernels, and the arc-cosine kernel of order 0, go by differences of coordinates.
 *
 * @throws {ParameterError} a kernel that is unknown, or what it cannot be
 * @throws {ShapeError} points of different numbers of coordinates, strided views
 * @throws {DTypeError} points that are not f32
 */
export function kernelMatrix(kernel: Kernel, x: Tensor, y: Tensor): Tensor<'f32'> {
  const checked = checkKernel(kernel);
  checkPoints('kernelMatrix', checked, { x, y });
  return x.runtime.scope(() => matrixOf(checked, x, y) as Tensor<'f32'>);
}

function checkPoints(
  op: string,
  { bandwidth }: CheckedKernel,
  tensors: Readonly<Record<'x' | 'y', Tensor> & Partial<Record<'v', Tensor>>>,
): void {
  checkFloat32(op, { ...tensors, ...(bandwidth instanceof Tensor && { bandwidth }) }, {});
  if (bandwidth instanceof Tensor && bandwidth.size !== 1)
    throw new ShapeError(`bandwidth must be one number, got ${formatShape(bandwidth.shape)}`);
  bindShapes({ x: 'n p', y: 'm p', ...(tensors.v && { v: 'm c' }) }, shapesOf(tensors));
  checkContiguous(tensors);
}

const shapesOf = (tensors: object) =>
  Object.fromEntries(
    Object.entries(tensors as Readonly<Record<string, Tensor>>).map(([name, { shape }]) => [name, shape]),
  );

function matrixOf(kernel: CheckedKernel, x: Tensor, y: Tensor): Tensor {
  const { bandwidth, smoothness, offset, degree, order } = kernel;
  switch (kernel.kernel) {
    case 'linear':
      return matmul(x, y, { transposeB: true });
    case 'polynomial':
      return matmul(x, y, {
        transposeB: true,
        epilogue: elementwise((t, { offset, degree }) => (t + offset) ** degree, { offset, degree }),
      });
    case 'arc-cosine':
      return arcCosineMatrix(x, y, order);
    case 'gaussian':
      return gaussian(over(x, bandwidth), over(y, bandwidth));
    case 'laplace':
      return map((d) => Math.exp(-d), distances(over(x, bandwidth), over(y, bandwidth), { norm: 'absolute' }));
    case 'matern':
      return matern(distances(over(x, bandwidth), over(y, bandwidth)), smoothness);
  }
}

const over = (x: Tensor, bandwidth: number | Tensor): Tensor =>
  multiply(x, bandwidth instanceof Tensor ? reciprocal(bandwidth) : x.runtime.tensor([1 / bandwidth], []));

/** exp(x . y - (|x|^2 + |y|^2) / 2), of one product: the squares are two more terms of it. */
function gaussian(x: Tensor, y: Tensor): Tensor {
  // Nearer to 0 less is lost where they cancel.
  const centre = stopGradient(mean(y, { axes: [0] }));
  const [left, right] = [subtract(x, centre), subtract(y, centre)];
  const half = x.runtime.tensor([-0.5], []);
  const squares = (points: Tensor) => multiply(sum(multiply(points, points), { axes: [1], keepDims: true }), half);
  const ones = (points: Tensor) => x.runtime.ones([points.shape[0] as number, 1]);
  const a = concat([left, squares(left), ones(left)] as Tensor<'f32'>[], 1);
  const b = concat([right, ones(right), squares(right)] as Tensor<'f32'>[], 1);
  return matmul(a, b, { transposeB: true, epilogue: elementwise((t) => Math.exp(Math.min(t, 0))) });
}

/** By squared distances over that of the bandwidth, with the derivative that it has at 0: none for smoothness 0.5. */
function matern(squares: Tensor, smoothness: number): Tensor {
  const factor = 2 * smoothness;
  const captured = { factor, third: smoothness === 2.5 ? 1 / 3 : 0, linear: smoothness === 0.5 ? 0 : 1 };
  return withDerivative(
    (squares) =>
      map(
        (d, { factor, third, linear }) => {
          const a = Math.sqrt(factor * d);
          return (1 + linear * a + third * a * a) * Math.exp(-a);
        },
        squares,
        { captured },
      ) as Tensor,
    ({ inputs: [squares], gradients }) => [slopeOf(squares, gradients as Tensor, smoothness)],
  )(squares);
}

function slopeOf(squares: Tensor, gradOut: Tensor, smoothness: number): Tensor {
  if (smoothness === 0.5)
    return map((d, g) => (d > 0 ? (-0.5 * g * Math.exp(-Math.sqrt(d))) / Math.sqrt(d) : 0), squares, gradOut);
  if (smoothness === 1.5) return map((d, g) => -1.5 * g * Math.exp(-Math.sqrt(3 * d)), squares, gradOut);
  return map((d, g) => (-5 / 6) * g * (1 + Math.sqrt(5 * d)) * Math.exp(-Math.sqrt(5 * d)), squares, gradOut);
}

/**
 * kernelMatrix(kernel, x, y) times v [m, c] -> [n, c], by tiles of rows, so that memory is O(n + m): the backward pass computes
 * each tile again. Gradients are with respect to points and v; errors as for `kernelMatrix`.
 */
export function kernelProduct(kernel: Kernel, x: Tensor, y: Tensor, v: Tensor): Tensor<'f32'> {
  const checked = checkKernel(kernel);
  checkPoints('kernelProduct', checked, { x, y, v });
  const [n, m] = [x.shape[0] as number, y.shape[0] as number];
  const rows = Math.max(FEWEST_ROWS, Math.floor(TILE / m));
  const { bandwidth } = checked;
  return x.runtime.scope(() => {
    const tiles: Tensor[] = [];
    for (let first = 0; first < n; first += rows) {
      const tile = x.slice(0, first, Math.min(first + rows, n));
      tiles.push(
        bandwidth instanceof Tensor
          ? recompute(
              (tile: Tensor, y: Tensor, v: Tensor, bandwidth: Tensor) =>
                productOf({ ...checked, bandwidth }, tile, y, v),
              tile,
              y,
              v,
              bandwidth,
            )
          : recompute((tile: Tensor, y: Tensor, v: Tensor) => productOf(checked, tile, y, v), tile, y, v),
      );
    }
    return (tiles.length === 1 ? tiles[0] : concat(tiles as Tensor<'f32'>[], 0)) as Tensor<'f32'>;
  });
}

const productOf = (kernel: CheckedKernel, x: Tensor, y: Tensor, v: Tensor): Tensor =>
  x.runtime.scope(() => matmul(matrixOf(kernel, x, y), v));

/** The kernel of each point with itself: x [n, p] -> [n]. */
export function kernelDiagonal(kernel: Kernel, x: Tensor): Tensor<'f32'> {
  const checked = checkKernel(kernel);
  const { kernel: name, offset, degree, order } = checked;
  checkPoints('kernelDiagonal', checked, { x, y: x });
  return x.runtime.scope(() => {
    const squares = sum(multiply(x, x), { axes: [1] });
    if (name === 'linear') return squares;
    if (name === 'polynomial')
      return map((s, { offset, degree }) => (s + offset) ** degree, squares, {
        captured: { offset, degree },
      }) as Tensor<'f32'>;
    if (name === 'arc-cosine' && order > 0)
      return map((s, { order }) => (order === 1 ? s : 3 * s * s), squares, { captured: { order } }) as Tensor<'f32'>;
    return add(multiply(squares, x.runtime.tensor([0], [])), x.runtime.ones([])) as Tensor<'f32'>;
  });
}
