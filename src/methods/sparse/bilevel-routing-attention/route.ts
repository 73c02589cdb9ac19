/** Attention of the tokens of a grid within the regions that are most like their own. */
import { attention } from '../../../ops/attention';
import { multiply } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { mean } from '../../../ops/reduce';
import { topK } from '../../../ops/top-k';
import type { Control } from '../../../runtime/backend';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';

type Pair = readonly [rows: number, columns: number];

export interface Routing {
  /** Tokens of a region along both axes, which divide those of the grid. */
  readonly region: Pair;
  /** Regions that the tokens of each region see. */
  readonly topRegions: number;
  /** Factor on the scores of tokens. */
  readonly scale: number;
  /** Tokens of the grid that are not padding, zeros at the end of both axes, in the mean of a region; default: all. */
  readonly real?: Pair | undefined;
}

/**
 * q, k [b, rows, columns, h, d] and v [b, rows, columns, h, e] -> out [b, rows, columns, h, e]. Regions are compared by the means
 * of their queries and keys over all heads, through which no gradient passes; keys and values are read where they lie.
 */
export function routedAttention(q: Tensor, k: Tensor, v: Tensor, routing: Routing, control?: Control): Tensor<'f32'> {
  const { region, topRegions, scale } = routing;
  const [b, rows, columns, h] = q.shape as [number, number, number, number, number];
  const grid = { extent: [rows, columns], region };
  const tokens = (x: Tensor) => x.reshape([b, rows * columns, h, x.shape[4] as number]);
  return q.runtime.scope(() => {
    const likeness = matmul(regionMeans(q, routing), regionMeans(k, routing), { transposeB: true });
    const { indices } = topK(likeness, topRegions);
    const lists = indices.reshape([b, 1, -1, topRegions]);
    const selection = { lists, queryGrid: grid, keyGrid: grid };
    const { out } = attention(tokens(q), tokens(k), tokens(v), { scale, selection, ...control });
    return (out as Tensor<'f32'>).reshape(v.shape);
  });
}

/** [b, regions, h d]: the means of the tokens of each region. */
function regionMeans(x: Tensor, { region, real }: Routing): Tensor<'f32'> {
  const [b, rows, columns, h, d] = x.shape as [number, number, number, number, number];
  const [p, q] = region;
  const split = stopGradient(x).reshape([b, rows / p, p, columns / q, q, h * d]);
  const means = mean(split, { axes: [2, 4] }).reshape([b, -1, h * d]);
  if (!real) return means;
  const [down, across] = [sharesOf(rows / p, p, real[0]), sharesOf(columns / q, q, real[1])];
  const factors = down.flatMap((one) => across.map((other) => 1 / (one * other)));
  return multiply(means, x.runtime.tensor(factors, [factors.length, 1]));
}

/** The share of each region along an axis that is not padding. */
const sharesOf = (regions: number, extent: number, real: number): number[] =>
  Array.from({ length: regions }, (_, at) => Math.min(1, (real - at * extent) / extent));
