/** The random directions of feature maps, drawn in host memory; the same seed gives the same on every platform. */
import { BoundedMap } from '../bounded-map';
import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkSeed, normal } from '../tensor/random';

export interface RandomFeatureOptions {
  /** d: how many numbers the vectors have. */
  readonly dimension: number;
  /** How many features a vector gets. */
  readonly features: number;
  /** Default 0. Maps whose features are to meet, of queries and of keys, must share it. */
  readonly seed?: number | undefined;
  /** Directions at right angles, d at a time, whose estimates vary less; else independent ones. Default true. */
  readonly orthogonal?: boolean | undefined;
  /**
   * How long orthogonal directions are: of random length as independent ones, which leaves estimates unbiased, or all
   * sqrt(d), which makes them slightly biased. Default 'chi'.
   */
  readonly norms?: 'chi' | 'sqrt-d' | undefined;
}

/**
 * `count` directions [count, d], row-major: rows of N(0, I), or blocks of d orthogonal rows whose directions are uniform.
 *
 * Source: Yu et al. 2016, "Orthogonal Random Features"; Choromanski et al. 2020, arXiv 2009.14794.
 */
export function drawDirections(count: number, options: RandomFeatureOptions): Float32Array {
  const { dimension: d, seed = 0, orthogonal = true, norms = 'chi' } = options;
  if (!orthogonal) return normal(count * d, seed);
  checkSeed(seed);
  const make = () => orthogonalDirections(count, { dimension: d, seed, norms });
  return count * d > MOST_KEPT ? make() : drawn.get(`${count} ${d} ${seed} ${norms}`, make).slice();
}

/** Draws of the last settings: layers and calls of a method share theirs. */
const drawn = new BoundedMap<string, Float32Array>(8);
/** Numbers of a draw that is kept: 4 MB. */
const MOST_KEPT = 2 ** 20;

type Drawing = { readonly [Name in 'dimension' | 'norms' | 'seed']: NonNullable<RandomFeatureOptions[Name]> };

function orthogonalDirections(count: number, { dimension: d, norms, seed }: Drawing): Float32Array {
  const directions = new Float32Array(count * d);
  const blocks = Math.ceil(count / d);
  // Two Gaussian matrices for each block: one becomes the rotation, the other one's rows give the lengths.
  const gaussian = normal(2 * blocks * d * d, seed);
  for (let block = 0; block < blocks; block++) {
    const from = 2 * block * d * d;
    const rows = Math.min(d, count - block * d);
    const rotation = orthonormalRows(gaussian.subarray(from, from + rows * d), d);
    const others = gaussian.subarray(from + d * d, from + 2 * d * d);
    for (let r = 0; r < rows; r++) {
      const length = norms === 'chi' ? Math.hypot(...others.subarray(r * d, (r + 1) * d)) : Math.sqrt(d);
      for (let c = 0; c < d; c++) directions[(block * d + r) * d + c] = length * (rotation[r * d + c] as number);
    }
  }
  return directions;
}

/**
 * A uniformly random (Haar) rotation or reflection [d, d] from d x d independent normal numbers, or its first rows from theirs.
 *
 * Gram-Schmidt, which is a QR decomposition with a positive diagonal of R. What libraries call QR (Householder) leaves the
 * signs of that diagonal as they fall: its Q is orthogonal but not uniform, and estimates that are not even in the
 * directions, such as those of positive features, are then biased.
 */
export function orthonormalRows(gaussian: ArrayLike<number>, d: number): Float64Array {
  const rows = Float64Array.from(gaussian);
  for (let r = 0; r < rows.length / d; r++) {
    const row = rows.subarray(r * d, (r + 1) * d);
    // Twice: what rounding leaves of the earlier rows the first time is gone the second.
    for (let pass = 0; pass < 2; pass++) {
      for (let earlier = 0; earlier < r; earlier++) {
        const other = rows.subarray(earlier * d, (earlier + 1) * d);
        const overlap = dot(row, other);
        for (let c = 0; c < d; c++) row[c]! -= overlap * other[c]!;
      }
    }
    const length = Math.sqrt(dot(row, row));
    for (let c = 0; c < d; c++) row[c]! /= length;
  }
  return rows;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

export const RANDOM_OPTIONS = ['dimension', 'features', 'seed', 'orthogonal', 'norms'];

/** As many numbers as a map's directions may have: 1 GiB in float32. */
const MOST_NUMBERS = 2 ** 28;

/** Throws unless counts are integers >= 1 that memory is enough for, and the choices known. The seed is checked where it is used. */
export function checkRandomOptions({ dimension, features, orthogonal, norms }: RandomFeatureOptions): void {
  for (const [name, value] of Object.entries({ dimension, features })) {
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new ParameterError(`${name} must be an integer >= 1, got ${show(value)}`);
  }
  if (features * dimension > MOST_NUMBERS) {
    throw new ParameterError(
      `features times dimension must be at most ${MOST_NUMBERS}, got ${features} times ${dimension}`,
    );
  }
  if (orthogonal !== undefined && typeof orthogonal !== 'boolean')
    throw new ParameterError(`orthogonal must be true or false, got ${show(orthogonal)}`);
  if (norms !== undefined && norms !== 'chi' && norms !== 'sqrt-d')
    throw new ParameterError(`norms must be chi or sqrt-d, got ${show(norms)}`);
  if (orthogonal === false && norms !== undefined) throw new ParameterError('norms needs orthogonal: true');
}

/** `features` of a map that was drawn. */
export function featuresDrawn(name: string, { dimension, features }: RandomFeatureOptions): (d: number) => number {
  return (d) => {
    if (d !== dimension)
      throw new ShapeError(
        `x must have shape [..., ${dimension}], for which ${name} was drawn, got a last extent of ${d}`,
      );
    return features;
  };
}
