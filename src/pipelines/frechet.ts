/** How far two sets of pictures are apart, by normal distributions of their features. Source: Heusel et al. 2017, arXiv 1706.08500. */
import { checkNumbers, checkRecord, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { eigh } from '../ops/linalg';
import { Runtime } from '../runtime/runtime';

/** Rows of features, one a picture. */
export interface FeatureRows {
  readonly width: number;
  /** [rows, width]. */
  readonly x: ArrayLike<number>;
}

/**
 * |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) of means and covariances, in float64.
 *
 * @throws {ShapeError} fewer than two rows, other widths
 */
export async function frechetDistance(runtime: Runtime, a: FeatureRows, b: FeatureRows): Promise<number> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkRows('a', a);
  checkRows('b', b);
  const { width } = a;
  if (b.width !== width) throw new ShapeError(`features must be of one width, got ${width} and ${b.width}`);
  const [first, second] = [momentsOf(a), momentsOf(b)];
  const apart = first.mean.reduce((sum, each, c) => sum + (each - (second.mean[c] as number)) ** 2, 0);
  const trace = (matrix: Float64Array) =>
    Array.from({ length: width }, (_, c) => matrix[c * width + c] as number).reduce((sum, each) => sum + each, 0);
  // The eigenvalues of A B are those of the symmetric R B R with R R = A.
  const root = await rootOf(runtime, first.covariance, width);
  const between = product(product(root, second.covariance, width), root, width);
  const { values } = await decomposed(runtime, between, width);
  const shared = values.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
  return apart + trace(first.covariance) + trace(second.covariance) - 2 * shared;
}

function checkRows(name: string, rows: FeatureRows): void {
  checkRecord(name, rows);
  checkWhole(`width of ${name}`, rows.width, 1);
  checkNumbers(`x of ${name}`, rows.x, 'finite', Number.isFinite);
  if (rows.x.length % rows.width !== 0)
    throw new ShapeError(`x of ${name} must have whole rows of ${rows.width}, got ${rows.x.length} numbers`);
  if (rows.x.length < 2 * rows.width)
    throw new ShapeError(`x of ${name} must have at least two rows of ${rows.width} features`);
}

function momentsOf({ width, x }: FeatureRows) {
  const rows = x.length / width;
  const mean = Float64Array.from({ length: width }, (_, c) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += x[row * width + c] as number;
    return sum / rows;
  });
  const covariance = new Float64Array(width * width);
  for (let row = 0; row < rows; row++) {
    const off = mean.map((each, c) => (x[row * width + c] as number) - each);
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++)
        covariance[i * width + j] =
          (covariance[i * width + j] as number) + ((off[i] as number) * (off[j] as number)) / (rows - 1);
  }
  return { mean, covariance };
}

async function decomposed(runtime: Runtime, matrix: Float64Array, width: number) {
  const symmetric = matrix.map((each, at) => (each + (matrix[(at % width) * width + Math.floor(at / width)] ?? 0)) / 2);
  using a = runtime.tensor(symmetric, [width, width], 'f64');
  const { values, vectors } = eigh<'f64'>(a);
  try {
    return { values: await values.read(), vectors: await vectors.read() };
  } finally {
    values.dispose();
    vectors.dispose();
  }
}

/** The symmetric root of a covariance. */
async function rootOf(runtime: Runtime, matrix: Float64Array, width: number): Promise<Float64Array> {
  const { values, vectors } = await decomposed(runtime, matrix, width);
  const half = vectors.map((each, at) => each * Math.max(0, values[at % width] as number) ** 0.25);
  return product(half, transposed(half, width), width);
}

const transposed = (x: Float64Array, width: number) =>
  x.map((_, at) => x[(at % width) * width + Math.floor(at / width)] as number);

function product(a: Float64Array, b: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: width * width }, (_, at) => {
    const [row, column] = [Math.floor(at / width), at % width];
    let sum = 0;
    for (let k = 0; k < width; k++) sum += (a[row * width + k] as number) * (b[k * width + column] as number);
    return sum;
  });
}
