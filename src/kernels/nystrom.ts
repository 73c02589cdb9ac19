/**
 * Nystrom's regression: functions of fewer centres than points.
 * Source: Rudi, Carratino, Rosasco 2017, FALKON, arXiv 1705.10958; leverage scores as in Musco and Musco 2016, arXiv 1605.07583.
 */
import { checkChoice, checkWhole } from '../check';
import { ShapeError } from '../errors';
import { concat } from '../ops/copy';
import { checkFloat32 } from '../ops/float32';
import { gather } from '../ops/gather';
import { cholesky, triangularSolve } from '../ops/linalg';
import { add, multiply } from '../ops/map';
import { map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { sum } from '../ops/reduce';
import { checkSeed, uniform } from '../tensor/random';
import { formatShape } from '../tensor/shape';
import { disposeKey, Tensor } from '../tensor/tensor';
import {
  type ConjugateGradientsOptions,
  type ConjugateGradientsResult,
  conjugateGradients,
} from './conjugate-gradients';
import { copied, withDiagonal } from './diagonal';
import type { Kernel } from './kernel';
import { kernelDiagonal, kernelMatrix, kernelProduct } from './matrix';
import { checkMemory } from './points';

export interface CentresOptions {
  /** For `nystrom`: how many of the points are drawn, or the centres themselves [s, p]; default the root of the points' number, times 10. */
  readonly centres?: number | Tensor | undefined;
  /**
   * How centres are drawn: `uniform`, or `leverage`, by what each point adds to the space of functions that the ridge
   * leaves, which needs fewer centres where points are unlike. Default `uniform`.
   */
  readonly sampling?: 'uniform' | 'leverage' | undefined;
  /** The seed of the draw; default 0. */
  readonly seed?: number | undefined;
}

/** Added to the matrix of centres, over the mean of its diagonal. */
const JITTER = 1e-5;
/** Rows of a matrix of points and centres that are computed at a time. */
const ROWS = 1024;
/** As many bytes as the matrix of points and centres may take to be kept, by backend; else it is computed in each iteration. */
const KEPT: Readonly<Record<string, number>> = { wasm: 2.75 * 2 ** 30, reference: 2 ** 30, webgpu: 2 ** 30 };
/** Centres of the first draw, from which leverage scores are estimated. */
const PILOTS = 1000;

const centresFor = (n: number) => Math.min(n, Math.ceil(10 * Math.sqrt(n)));

/** The centres that were asked for, of points x [n, p], as a tensor of its own. */
export async function centresOf(
  kernel: Kernel,
  x: Tensor,
  ridge: number,
  { centres, sampling = 'uniform', seed = 0 }: CentresOptions,
): Promise<Tensor<'f32'>> {
  checkChoice('sampling', sampling, ['uniform', 'leverage']);
  checkSeed(seed);
  const [n, p] = x.shape as [number, number];
  const count =
    centres instanceof Tensor ? (centres.shape[0] as number) : centres === undefined ? centresFor(n) : centres;
  if (centres instanceof Tensor) {
    checkFloat32('fitKernelRidge', { centres }, {});
    if (centres.rank !== 2 || centres.shape[1] !== p)
      throw new ShapeError(`centres must have shape [s, ${p}], got ${formatShape(centres.shape)}`);
  }
  checkWhole('centres', count, 1, n);
  checkMemory(`solver nystrom with ${count} centres`, 12 * count ** 2, 'take fewer centres');
  if (centres instanceof Tensor) return copied(centres);
  const scores = sampling === 'leverage' ? await leverageScores(kernel, x, ridge, seed) : undefined;
  return drawn(x, count, seed, scores);
}

/** Different points, drawn evenly, or with shares in proportion to scores. */
function drawn(x: Tensor, count: number, seed: number, scores?: ArrayLike<number>): Tensor<'f32'> {
  const keys = uniform(x.shape[0] as number, seed).map((key, at) => (scores ? -Math.log(key) / scores[at]! : key));
  const order = [...keys.keys()].sort((a, b) => (keys[a] as number) - (keys[b] as number));
  using indices = x.runtime.tensor(Int32Array.from(order.slice(0, count)), [count]);
  return gather(x as Tensor<'f32'>, indices);
}

/**
 * About the diagonal of K (K + ridge)^-1, for each of the points x [n, p] what it adds to the functions that the ridge leaves,
 * from a few of them that are drawn evenly.
 *
 * @internal
 */
export async function leverageScores(kernel: Kernel, x: Tensor, ridge: number, seed: number): Promise<Float32Array> {
  const n = x.shape[0] as number;
  const count = Math.min(n, PILOTS, 2 * centresFor(n));
  using pilots = drawn(x, count, seed + 1);
  using factor = factorOf(kernel, pilots, Math.max((ridge * count) / n, 0));
  const scores: number[] = [];
  for (let first = 0; first < n; first += ROWS) {
    using left = x.runtime.scope(() => {
      const tile = x.slice(0, first, Math.min(first + ROWS, n));
      const along = triangularSolve(factor, kernelMatrix(kernel, pilots, tile));
      const own = kernelDiagonal(kernel, tile);
      return map((own, along) => Math.max(own - along, 1e-6 * own), own, sum(multiply(along, along), { axes: [0] }));
    });
    for (const each of (await left.read()) as Float32Array) scores.push(Math.max(each, Number.MIN_VALUE));
  }
  return Float32Array.from(scores);
}

/** The factor of the centres' kernel matrix, with a ridge and what rounding may have taken. */
function factorOf(kernel: Kernel, centres: Tensor, ridge: number): Tensor {
  return centres.runtime.scope(() => {
    const matrix = kernelMatrix(kernel, centres, centres);
    const jitter = sum(
      multiply(kernelDiagonal(kernel, centres), centres.runtime.tensor([JITTER / matrix.shape[0]!], [])),
    );
    return cholesky(withDiagonal(matrix, add(jitter, centres.runtime.tensor([ridge], []))));
  });
}

/**
 * Least |K a - y|^2 + ridge a^T C a over weights a of the centres, C their matrix and K that of points and centres. With C = L L^T
 * and a = L^-T w the system is (L^-1 K^T K L^-T + ridge) w = L^-1 K^T y; n / s L^T L + ridge, which it would be if centres were
 * as points are, preconditions it. On an error the centres are disposed.
 */
export async function fitNystrom(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  ridge: number,
  centres: Tensor<'f32'>,
  iterating: ConjugateGradientsOptions,
): Promise<{ weights: Tensor<'f32'> } & Pick<ConjugateGradientsResult, 'iterations' | 'residual'>> {
  const { runtime } = x;
  const share = (x.shape[0] as number) / (centres.shape[0] as number);
  try {
    using triangle = factorOf(kernel, centres, 0);
    using inner = runtime.scope(() => {
      const across = matmul(triangle, triangle, { transposeA: true });
      return cholesky(withDiagonal(multiply(across, runtime.tensor([share], [])), ridge));
    });
    // What the factors were computed from is freed first.
    await runtime.finish();
    using products = await productsOf(kernel, x, centres);
    const weightsOf = (w: Tensor) => triangularSolve(triangle, w, { transpose: true });
    const back = (v: Tensor) => triangularSolve(triangle, products.back(v));
    using right = runtime.scope(() => back(y));
    const scale = runtime.tensor([ridge], []);
    using _ = scale;
    const { x: w, ...rest } = await conjugateGradients(
      (w) => add(back(products.forth(weightsOf(w))), multiply(w, scale)),
      right,
      {
        preconditioner: (r) => triangularSolve(inner, triangularSolve(inner, r), { transpose: true }),
        ...iterating,
      },
    );
    using found = w;
    return { weights: weightsOf(found) as Tensor<'f32'>, ...rest };
  } catch (error) {
    centres.dispose();
    throw error;
  }
}

/** Products with the matrix K of points and centres and with its transpose: of tiles that are kept where they fit. */
async function productsOf(kernel: Kernel, x: Tensor, centres: Tensor) {
  const [n, s] = [x.shape[0] as number, centres.shape[0] as number];
  if (4 * n * s > (KEPT[x.runtime.backend.name] ?? 0)) {
    return {
      forth: (v: Tensor): Tensor => kernelProduct(kernel, x, centres, v),
      back: (v: Tensor): Tensor => kernelProduct(kernel, centres, x, v),
      [disposeKey]() {},
    };
  }
  const firsts = Array.from({ length: Math.ceil(n / ROWS) }, (_, at) => at * ROWS);
  const rows = (points: Tensor, first: number) => points.slice(0, first, Math.min(first + ROWS, n));
  const tiles: Tensor[] = [];
  const dispose = () => {
    for (const tile of tiles) tile.dispose();
  };
  try {
    for (const first of firsts) {
      tiles.push(x.runtime.scope(() => kernelMatrix(kernel, rows(x, first), centres)));
      // Calls take memory when they are made: a few at a time are enough to keep the threads busy.
      if (tiles.length % 4 === 0) await x.runtime.finish();
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    forth: (v: Tensor): Tensor =>
      concat(
        tiles.map((tile) => matmul(tile, v) as Tensor<'f32'>),
        0,
      ),
    back: (v: Tensor): Tensor =>
      tiles
        .map((tile, at) => matmul(tile, rows(v, firsts[at] as number), { transposeA: true }) as Tensor)
        .reduce((total, each) => add(total, each)),
    [disposeKey]: dispose,
  };
}
