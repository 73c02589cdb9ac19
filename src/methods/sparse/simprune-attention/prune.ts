/** Tokens of a picture that are so like others that attention can do without them. */
import { concat } from '../../../ops/copy';
import { cumulativeSum } from '../../../ops/cumulative-sum';
import { gather } from '../../../ops/gather';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { argmax, max, sum } from '../../../ops/reduce';
import { scatterAdd } from '../../../ops/scatter-add';
import { argsort, topK } from '../../../ops/top-k';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';

export interface Pruning {
  /** Rows and columns of the picture. */
  readonly grid: readonly [number, number];
  /** Side of the squares of which one token each is always kept. */
  readonly patch: number;
  /** Tokens that are pruned. */
  readonly count: number;
  /** Factor on the noise. */
  readonly alpha: number;
  /** Whether a pruned token copies only from the bases, as merged tokens do; default: from any that is kept. */
  readonly fromBases?: boolean | undefined;
}

/** Which tokens of a picture are kept; all i32. */
export interface Kept {
  /** [n]: 1 for kept tokens, 0 for others. */
  readonly flags: Tensor<'i32'>;
  /** [n - count]: the kept tokens in their order. */
  readonly tokens: Tensor<'i32'>;
  /** [n]: for each token its place, or that of the kept one it is most like, among the kept. */
  readonly sources: Tensor<'i32'>;
}

/** Added to the flag of a base, so that it is never among the most alike: cosines are within -1 and 1. */
const NEVER = -4;
const LEAST_NORM = 1e-12;

/**
 * tokens [n, c] of one picture, noise [n] -> what is kept. By cosines: in each patch the token most like all is its base; of
 * the others those most like a base are pruned. No gradient passes.
 */
export function pruned(
  tokens: Tensor,
  noise: Tensor | undefined,
  { grid, patch, count, alpha, fromBases }: Pruning,
): Kept {
  const { runtime } = tokens;
  const [n] = tokens.shape as [number, number];
  return runtime.scope(() => {
    const rows = unitRows(stopGradient(tokens));
    // The sum of a token's cosines is its product with the sum of all tokens: no matrix of pairs is needed.
    const likeness = matmul(rows, sum(rows, { axes: [0] }).reshape([-1, 1])).reshape([n]);
    const scores = noise
      ? map((own, noise, { alpha }) => own + alpha * noise, likeness, stopGradient(noise), { captured: { alpha } })
      : likeness;
    const bases = basesOf(scores, grid, patch);
    const ones = (size: number) => runtime.tensor(new Float32Array(size).fill(1), [size, 1]);
    const flagged = (places: Tensor) => scatterAdd(ones(places.size), places, n).reshape([n]);
    const likeBase = max(matmul(rows, gather(rows, bases), { transposeB: true }), { axes: [1] });
    const order = map((cosine, isBase, { never }) => cosine + never * isBase, likeBase, flagged(bases), {
      captured: { never: NEVER },
    });
    const { indices: gone } = topK(order, count);
    const isGone = flagged(gone);
    const kept = argsort(isGone).slice(0, 0, n - count);
    const before = cumulativeSum(map((x) => 1 - x, isGone));
    const models = fromBases ? bases : kept;
    const alike = matmul(gather(rows, gone), gather(rows, models), { transposeB: true });
    const placed = gather(before.reshape([n, 1]), models);
    const places = scatterAdd(gather(placed, argmax(alike, { axes: [1] })), gone, n);
    const sources = map(
      (isGone, before, place) => (isGone > 0 ? place : before) - 1,
      isGone,
      before,
      places.reshape([n]),
      { dtype: 'i32' },
    );
    const flags = map((x) => 1 - x, isGone, { dtype: 'i32' });
    return { flags, tokens: kept, sources } as Kept;
  });
}

/** Rows of length 1; one of zeros stays. */
const unitRows = (x: Tensor): Tensor<'f32'> =>
  map(
    (x, square, { least }) => x / Math.max(Math.sqrt(square), least),
    x,
    sum(
      map((x) => x * x, x),
      { axes: [1], keepDims: true },
    ),
    { captured: { least: LEAST_NORM } },
  ) as Tensor<'f32'>;

/** In each whole patch of the grid the token with the largest score, the first of equal ones: i32, [patches]. */
function basesOf(scores: Tensor, [rows, columns]: readonly [number, number], patch: number): Tensor<'i32'> {
  const [down, across] = [Math.floor(rows / patch), Math.floor(columns / patch)];
  const whole = scores
    .reshape([rows, columns])
    .slice(0, 0, down * patch)
    .slice(1, 0, across * patch);
  const patches = map((x) => x, whole)
    .reshape([down, patch, across, patch])
    .permute([0, 2, 1, 3]);
  const within = argmax(map((x) => x, patches).reshape([down * across, patch * patch]), { axes: [1] });
  const firsts = Int32Array.from(
    { length: down * across },
    (_, at) => (Math.floor(at / across) * columns + (at % across)) * patch,
  );
  const steps = Int32Array.from({ length: patch * patch }, (_, at) => Math.floor(at / patch) * columns + (at % patch));
  const { runtime } = scores;
  return map((first, at, { steps }) => first + steps[at]!, runtime.tensor(firsts, [firsts.length], 'i32'), within, {
    captured: { steps: runtime.tensor(steps, [steps.length], 'i32') },
  }) as Tensor<'i32'>;
}

/** Rows [n, ...] of a picture's tokens by their places. */
export function rowsAt(x: Tensor, places: Tensor): Tensor<'f32'> {
  const [n, ...rest] = x.shape as [number, ...number[]];
  return gather(x.reshape([n, -1]) as Tensor<'f32'>, places).reshape([places.size, ...rest]);
}

/** One of each picture, as one tensor. */
export const together = (parts: readonly Tensor[]): Tensor<'f32'> =>
  concat(parts.map((part) => part.reshape([1, ...part.shape])) as Tensor<'f32'>[], 0) as Tensor<'f32'>;
