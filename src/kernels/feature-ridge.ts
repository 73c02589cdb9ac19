/** Ridge regression on random features of points. */
import { checkKnown } from '../check';
import { ParameterError } from '../errors';
import type { FeatureMap } from '../feature-maps';
import { solve } from '../ops/linalg';
import { add } from '../ops/map';
import { matmul } from '../ops/matmul';
import { disposeKey, type Tensor } from '../tensor/tensor';
import { withDiagonal } from './diagonal';
import { checkMemory, checkRidge, readPoints } from './points';

export interface FeatureRidgeOptions {
  /** Added to the diagonal of the matrix of features, as it is; default 1. */
  readonly ridge?: number | undefined;
}

/** A regression that was fitted. */
export interface FeatureRidge {
  readonly map: FeatureMap;
  /** [features, c] */
  readonly weights: Tensor<'f32'>;
  /** Predictions for x [m, p] -> [m, c]. */
  predict(x: Tensor): Tensor<'f32'>;
  dispose(): void;
}

/** Rows whose features are held at a time. */
const ROWS = 4096;

/**
 * Fits targets y [n, c] by a linear function of features of points x [n, p], such as `fourier`, `arcCosine` or `positive` gives:
 * about kernel ridge regression, by n r^2 operations for r features, or by n^2 r where points are fewer. What it keeps is
 * its own: dispose it.
 *
 * @throws {ParameterError} options that are unknown or out of range, numbers that are not finite, more features than memory
 * is enough for; features that are dependent, without a ridge
 * @throws {ShapeError} points and targets of different numbers, points of other coordinates than the map was drawn for
 * @throws {DTypeError} inputs that are not f32
 */
export async function fitFeatureRidge(
  map: FeatureMap,
  x: Tensor,
  y: Tensor,
  options: FeatureRidgeOptions = {},
): Promise<FeatureRidge> {
  if (typeof (map as { forward?: unknown } | null)?.forward !== 'function')
    throw new ParameterError('map must be a feature map, such as fourier({ dimension, features })');
  checkKnown('options', options, ['ridge'], (name) => `fitFeatureRidge has no option '${name}'`);
  const { ridge = 1 } = options;
  checkRidge('ridge', ridge);
  const { n, p } = await readPoints('fitFeatureRidge', x, y);
  const features = map.features(p);
  checkMemory(`${features} features`, 12 * Math.min(n, features) ** 2, 'take fewer features, or fewer points');
  const weights = features <= n ? primal(map, x, y, ridge) : dual(map, x, y, ridge);
  return {
    map,
    weights,
    predict: (x) => x.runtime.scope(() => matmul(map.forward(x), weights) as Tensor<'f32'>),
    dispose: () => weights.dispose(),
  };
}

/** (F^T F + ridge)^-1 F^T y, of features F of some rows at a time. */
function primal(map: FeatureMap, x: Tensor, y: Tensor, ridge: number): Tensor<'f32'> {
  const n = x.shape[0] as number;
  return x.runtime.scope(() => {
    let sums: readonly [matrix: Tensor, along: Tensor] | undefined;
    for (let first = 0; first < n; first += ROWS) {
      const earlier = sums;
      sums = x.runtime.scope(() => {
        const [rows, targets] = [x, y].map((each) => each.slice(0, first, Math.min(first + ROWS, n))) as [
          Tensor,
          Tensor,
        ];
        const features = map.forward(rows);
        const own = [features, targets].map((by) => matmul(features, by, { transposeA: true })) as [Tensor, Tensor];
        return earlier ? ([add(earlier[0], own[0]), add(earlier[1], own[1])] as const) : own;
      });
      for (const each of earlier ?? []) each[disposeKey]();
    }
    const [matrix, along] = sums as readonly [Tensor, Tensor];
    return solve(withDiagonal(matrix, ridge), along, { assume: 'positive-definite', refine: 2 });
  });
}

/** F^T (F F^T + ridge)^-1 y, which is the same. */
function dual(map: FeatureMap, x: Tensor, y: Tensor, ridge: number): Tensor<'f32'> {
  return x.runtime.scope(() => {
    const features = map.forward(x);
    const matrix = withDiagonal(matmul(features, features, { transposeB: true }), ridge);
    const weights = solve(matrix, y, { assume: 'positive-definite', refine: 2 });
    return matmul(features, weights, { transposeA: true }) as Tensor<'f32'>;
  });
}
