/** Attention of the tokens of a grid within the regions that are most like their own. */
import { attention } from '../../../ops/attention';
import { multiply } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { mean } from '../../../ops/reduce';
import { topK } from '../../../ops/top-k';
import type { Control } from '../../../runtime/backend';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';

export interface Routing {
  /** Tokens of a region along each axis of the grid, which they divide. */
  readonly region: readonly number[];
  /** Regions that the tokens of each region see. */
  readonly topRegions: number;
  /** Factor on the scores of tokens. */
  readonly scale: number;
  /** Tokens along each axis that are not padding, zeros at its end, in the mean of a region; default: all. */
  readonly real?: readonly number[] | undefined;
  /** Told which regions those of each region see, [b, regions, topRegions], before they are disposed. */
  readonly onRoutes?: ((regions: Tensor, grid: readonly number[]) => void) | undefined;
}

/**
 * q, k [b, ...space, h, d] and v [b, ...space, h, e] -> out [b, ...space, h, e]. Regions are compared by the means of their
 * queries and keys over all heads, through which no gradient passes; keys and values are read where they lie.
 */
export function routedAttention(q: Tensor, k: Tensor, v: Tensor, routing: Routing, control?: Control): Tensor<'f32'> {
  const { region, topRegions, scale } = routing;
  const [b, h] = [q.shape[0] as number, q.shape.at(-2) as number];
  const grid = { extent: q.shape.slice(1, -2), region };
  const tokens = (x: Tensor) => x.reshape([b, -1, h, x.shape.at(-1) as number]);
  return q.runtime.scope(() => {
    const likeness = matmul(regionMeans(q, routing), regionMeans(k, routing), { transposeB: true });
    const { indices } = topK(likeness, topRegions);
    routing.onRoutes?.(
      indices,
      grid.extent.map((extent, axis) => extent / (region[axis] as number)),
    );
    const lists = indices.reshape([b, 1, -1, topRegions]);
    const selection = { lists, queryGrid: grid, keyGrid: grid };
    const { out } = attention(tokens(q), tokens(k), tokens(v), { scale, selection, ...control });
    return (out as Tensor<'f32'>).reshape(v.shape);
  });
}

/** [b, regions, h d]: the means of the tokens of each region. */
function regionMeans(x: Tensor, { region, real }: Routing): Tensor<'f32'> {
  const [b, space] = [x.shape[0] as number, x.shape.slice(1, -2)];
  const c = (x.shape.at(-2) as number) * (x.shape.at(-1) as number);
  // One axis after the other, the last one first, so that nothing is copied.
  const means = region
    .reduceRight<Tensor>(
      (y, tokens, axis) => {
        const [before, extent, after] = [
          y.shape.slice(0, axis + 1),
          y.shape[axis + 1] as number,
          y.shape.slice(axis + 2),
        ];
        return mean(y.reshape([...before, extent / tokens, tokens, ...after]), { axes: [axis + 2] });
      },
      stopGradient(x).reshape([b, ...space, c]),
    )
    .reshape([b, -1, c]) as Tensor<'f32'>;
  if (!real) return means;
  const factors = space.reduce<number[]>(
    (all, extent, axis) => {
      const tokens = region[axis] as number;
      const shares = sharesOf(extent / tokens, tokens, real[axis] as number);
      return all.flatMap((factor) => shares.map((share) => factor / share));
    },
    [1],
  );
  return multiply(means, x.runtime.tensor(factors, [factors.length, 1]));
}

/** The share of each region along an axis that is not padding. */
const sharesOf = (regions: number, extent: number, real: number): number[] =>
  Array.from({ length: regions }, (_, at) => Math.min(1, (real - at * extent) / extent));
