/** Matrices of kernels, and products of them that never hold one. */
import { ShapeError } from '../errors';
import { apply, type Expression, input } from '../expressions/expression';
import { concat } from '../ops/copy';
import { distances } from '../ops/distances';
import { exponentials, laplacians } from '../ops/distances/exponentials';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import { add, multiply, reciprocal, subtract } from '../ops/map';
import { Elementwise, ElementwiseFunction, element } from '../ops/map/function';
import { map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { mean, sum } from '../ops/reduce';
import { recompute, stopGradient, withDerivative } from '../tape';
import { bindShapes, formatShape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import { formatBytes } from '../text/format';
import { arcCosineMatrix } from './arc-cosine';
import { attentionDiagonal, attentionMatrix, keysOf } from './attention';
import { type CheckedKernel, checkKernel, type Kernel } from './kernel';

/** Elements of a matrix that a product holds at a time, and the fewest rows. */
const TILE = 2 ** 20;
const FEWEST_ROWS = 32;
/** What a tensor may take. */
const MOST_BYTES = 2 ** 32;

/**
 * The kernel of each pair of points, x [n, p] and y [m, p] -> [n, m]; f32, contiguous. Its gradients are with respect to points
 * and, where it is a tensor, the bandwidth. Gaussian and polynomial kernels are products of matrices, of points taken from
 * their mean; Laplace and Matern kernels, and the arc-cosine kernel of order 0, go by differences of coordinates.
 *
 * @throws {ParameterError} a kernel that is unknown, or what it cannot be
 * @throws {ShapeError} points of different numbers of coordinates, strided views, a matrix that no memory holds
 * @throws {DTypeError} points that are not f32
 */
export function kernelMatrix(kernel: Kernel, x: Tensor, y: Tensor): Tensor<'f32'> {
  const checked = checkKernel(kernel);
  checkPoints('kernelMatrix', checked, { x, y });
  checkSize(x, y);
  return x.runtime.scope(() =>
    checked.kernel === 'attention'
      ? byTiles(checked, x, y, undefined, matrixOf)
      : (matrixOf(checked, x, y) as Tensor<'f32'>),
  );
}

/** Throws where the matrix cannot be had, before anything is computed. */
function checkSize(x: Tensor, y: Tensor): void {
  const [n, m] = [x.shape[0] as number, y.shape[0] as number];
  if (4 * n * m > MOST_BYTES)
    throw new ShapeError(
      `the kernel matrix of ${n} and ${m} points takes ${formatBytes(4 * n * m)}, of at most ${formatBytes(MOST_BYTES)}: use kernelProduct, which never holds it, or fewer centres`,
    );
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
  const { bandwidth, smoothness, offset, degree, order, width } = kernel;
  switch (kernel.kernel) {
    case 'linear':
      return matmul(x, y, { transposeB: true });
    case 'polynomial':
      return matmul(x, y, {
        transposeB: true,
        epilogue: new Elementwise(powerOf(degree), [offset]),
      });
    case 'arc-cosine':
      return arcCosineMatrix(x, y, order);
    case 'attention':
      return attentionMatrix(x, y, width);
    case 'gaussian':
      return gaussian(over(x, bandwidth), over(y, bandwidth));
    case 'laplace':
      return laplacians(over(x, bandwidth), over(y, bandwidth));
    case 'matern':
      return matern(distances(over(x, bandwidth), over(y, bandwidth)), smoothness);
  }
}

const powers = new Map<number, ElementwiseFunction>();

/** (t + c0)^degree by multiplications. */
function powerOf(degree: number): ElementwiseFunction {
  const found = powers.get(degree);
  if (found) return found;
  const base = apply('add', element(0), input('c0'));
  let [power, square] = [undefined as Expression | undefined, base];
  for (let left = degree; left > 0; left >>= 1) {
    if (left & 1) power = power ? apply('multiply', power, square) : square;
    if (left > 1) square = apply('multiply', square, square);
  }
  const made = new ElementwiseFunction('power', 1, [power as Expression]);
  powers.set(degree, made);
  return made;
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
  return exponentials(a, b);
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
 * each tile again. Gradients are with respect to points, v and, where it is a tensor, the bandwidth; errors as for `kernelMatrix`.
 */
export function kernelProduct(kernel: Kernel, x: Tensor, y: Tensor, v: Tensor): Tensor<'f32'> {
  const checked = checkKernel(kernel);
  checkPoints('kernelProduct', checked, { x, y, v });
  return x.runtime.scope(() =>
    byTiles(checked, x, y, v, (kernel, tile, y, v) => matmul(matrixOf(kernel, tile, y), v as Tensor)),
  );
}

/** What is computed of tiles of x, of which the backward pass computes each again. */
function byTiles(
  kernel: CheckedKernel,
  x: Tensor,
  y: Tensor,
  v: Tensor | undefined,
  compute: (kernel: CheckedKernel, tile: Tensor, y: Tensor, v: Tensor | undefined) => Tensor,
): Tensor<'f32'> {
  const n = x.shape[0] as number;
  const rows = rowsOfTile(kernel, y);
  const { bandwidth } = kernel;
  const others = [v, bandwidth instanceof Tensor ? bandwidth : undefined].filter((each) => each !== undefined);
  const ofTile = (tile: Tensor, y: Tensor, ...more: Tensor[]) =>
    tile.runtime.scope(() => {
      const own = bandwidth instanceof Tensor ? { ...kernel, bandwidth: more.at(-1) as Tensor } : kernel;
      return compute(own, tile, y, v && more[0]);
    });
  const tiles: Tensor[] = [];
  for (let first = 0; first < n; first += rows)
    tiles.push(recompute(ofTile, x.slice(0, first, Math.min(first + rows, n)), y, ...others));
  return (tiles.length === 1 ? tiles[0] : concat(tiles as Tensor<'f32'>[], 0)) as Tensor<'f32'>;
}

/** Rows of x whose tile, with all that is between, has about as many elements as it may. */
function rowsOfTile(kernel: CheckedKernel, y: Tensor): number {
  const m = y.shape[0] as number;
  if (kernel.kernel === 'attention') return Math.max(1, Math.floor(TILE / (m * keysOf(y, kernel.width) ** 2)));
  return Math.max(FEWEST_ROWS, Math.floor(TILE / m));
}

/** The kernel of each point with itself: x [n, p] -> [n]. */
export function kernelDiagonal(kernel: Kernel, x: Tensor): Tensor<'f32'> {
  const checked = checkKernel(kernel);
  const { kernel: name, offset, degree, order, width } = checked;
  checkPoints('kernelDiagonal', checked, { x, y: x });
  return x.runtime.scope(() => {
    if (name === 'attention') return attentionDiagonal(x, width);
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
