/** Conjugate gradients for systems of which only the product is known. */
import { checkFunction, checkKnown, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkControl } from '../ops/check';
import { checkFloat32 } from '../ops/float32';
import { add, multiply, subtract } from '../ops/map';
import { map } from '../ops/map/map';
import { sum } from '../ops/reduce';
import { formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

export interface ConjugateGradientsOptions {
  /** About the inverse of the matrix times a tensor [n, c]: the closer, the fewer iterations. Default: the identity. */
  readonly preconditioner?: ((r: Tensor) => Tensor) | undefined;
  /** The largest residual of a column over the length of its right-hand side with which it ends; default 1e-5. */
  readonly tolerance?: number | undefined;
  /** Default 1000. */
  readonly maxIterations?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** After each iteration: its number and the largest residual. */
  readonly onIteration?: ((iteration: number, residual: number) => void) | undefined;
}

export interface ConjugateGradientsResult {
  /** [n, c] */
  readonly x: Tensor<'f32'>;
  readonly iterations: number;
  /** The largest residual of a column over the length of its right-hand side; above the tolerance where iterations ran out. */
  readonly residual: number;
}

const NAMES = ['preconditioner', 'tolerance', 'maxIterations', 'signal', 'onIteration'];

/**
 * x with A x = b for a symmetric, positive definite A, by products alone: `product` is A times a tensor [n, c], of all columns of
 * b [n, c] at once, such as `(v) => kernelProduct(kernel, points, points, v)` with a ridge added. Waits for the residual of
 * each iteration.
 *
 * @throws {ParameterError} options that are unknown or out of range; a matrix that proves not to be positive definite
 * @throws {ShapeError} a product of another shape than b
 * @throws {DTypeError} a b that is not f32
 */
export async function conjugateGradients(
  product: (v: Tensor) => Tensor,
  b: Tensor,
  options: ConjugateGradientsOptions = {},
): Promise<ConjugateGradientsResult> {
  checkFunction('product', product);
  checkKnown('options', options, NAMES, (name) => `conjugateGradients has no option '${name}'`);
  checkFloat32('conjugateGradients', { b }, {});
  const { preconditioner = (r) => r, tolerance = 1e-5, maxIterations = 1000, signal, onIteration = () => {} } = options;
  checkControl({ signal });
  checkFunction('preconditioner', preconditioner);
  checkFunction('onIteration', onIteration);
  checkWhole('maxIterations', maxIterations, 1);
  if (!(Number.isFinite(tolerance) && tolerance > 0 && tolerance < 1))
    throw new ParameterError(`tolerance must be a number from 0 to 1, got ${show(tolerance)}`);
  if (b.rank !== 2) throw new ShapeError(`b must have shape [n, c], got ${formatShape(b.shape)}`);
  const { runtime } = b;
  const lengths = await read(runtime.scope(() => dots(b, b)));
  let state: State = runtime.scope(() => {
    const z = add(preconditioner(b), runtime.zeros(b.shape));
    return { x: runtime.zeros(b.shape), r: add(b, runtime.zeros(b.shape)), p: z, rz: dots(b, z) };
  });
  let [iteration, residual] = [0, lengths.some((length) => length > 0) ? 1 : 0];
  try {
    while (residual > tolerance && iteration < maxIterations) {
      signal?.throwIfAborted();
      const { next, curvature } = stepped(state, product, preconditioner);
      dispose(state);
      state = next;
      const [curvatures, squares] = await Promise.all([
        read(curvature),
        read(runtime.scope(() => dots(next.r, next.r))),
      ]);
      const wrong = curvatures.findIndex((value, at) => value < 0 && (lengths[at] as number) > 0);
      if (wrong >= 0)
        throw new ParameterError(
          `the matrix of product is not positive definite: v . A v is ${curvatures[wrong]} for a v; add a ridge`,
        );
      residual = Math.max(
        ...squares.map((square, at) => (lengths[at] === 0 ? 0 : Math.sqrt(square / (lengths[at] as number)))),
      );
      iteration++;
      onIteration(iteration, residual);
    }
  } catch (error) {
    dispose(state);
    throw error;
  }
  const { x, ...rest } = state;
  for (const each of Object.values(rest)) each.dispose();
  return { x: x as Tensor<'f32'>, iterations: iteration, residual };
}

interface State {
  readonly x: Tensor;
  readonly r: Tensor;
  readonly p: Tensor;
  /** r . z of each column, [1, c]. */
  readonly rz: Tensor;
}

const dispose = (state: State) => {
  for (const each of Object.values(state) as Tensor[]) each.dispose();
};

const dots = (a: Tensor, b: Tensor): Tensor => sum(multiply(a, b), { axes: [0], keepDims: true });

async function read(x: Tensor): Promise<number[]> {
  try {
    return [...(await x.read())] as number[];
  } finally {
    x.dispose();
  }
}

function stepped({ x, r, p, rz }: State, product: (v: Tensor) => Tensor, preconditioner: (r: Tensor) => Tensor) {
  return x.runtime.scope(() => {
    const along = product(p);
    if (!sameShape(along.shape, p.shape))
      throw new ShapeError(
        `product must return a tensor of shape ${formatShape(p.shape)}, got ${formatShape(along.shape)}`,
      );
    const curvature = dots(p, along);
    const step = map((a, c) => (c > 0 ? a / c : 0), rz, curvature);
    const left = subtract(r, multiply(along, step));
    const z = preconditioner(left);
    const after = dots(left, z);
    const turn = map((a, c) => (c > 0 ? a / c : 0), after, rz);
    const next: State = { x: add(x, multiply(p, step)), r: left, p: add(z, multiply(p, turn)), rz: after };
    return { next, curvature };
  });
}
