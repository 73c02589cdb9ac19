/**
 * The kernel of one layer of attention with ReLU and infinitely many random heads (Fu, Guo, Bai, Mei 2023): points are a query and
 * keys, side by side.
 */
import { ShapeError } from '../errors';
import { concat, contiguous } from '../ops/copy';
import { multiply } from '../ops/map';
import { matmul } from '../ops/matmul';
import { mean } from '../ops/reduce';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { lengths, ofProducts } from './arc-cosine';

/** The variance of the entries of a head: with tokens of length 1 scores have variance 1. */
const VARIANCE = 0.25;

/** How many keys points [n, p] have, of tokens of so many numbers. */
export function keysOf(points: Tensor, width: number): number {
  const p = points.shape[1] as number;
  const tokens = p / width;
  if (!Number.isInteger(tokens) || tokens < 2)
    throw new ShapeError(
      `points of the attention kernel must be a query and at least one key of width ${width} side by side, got ${formatShape(points.shape)}`,
    );
  return tokens - 1;
}

/** Queries [n, 1, width + 1] and keys [n, keys, width + 1], with a 1 behind each. */
function tokensOf(points: Tensor, width: number) {
  const [n, tokens] = [points.shape[0] as number, keysOf(points, width) + 1];
  const ones = points.runtime.ones([n, tokens, 1]);
  const all = concat([points.reshape([n, tokens, width]) as Tensor<'f32'>, ones], 2);
  return { query: contiguous(all.slice(1, 0, 1)), keys: contiguous(all.slice(1, 1, tokens)) };
}

/** The mean over pairs of keys of E relu(s) relu(s') times their product, of points x [n, p] and y [m, p] -> [n, m]. */
export function attentionMatrix(x: Tensor, y: Tensor, width: number): Tensor {
  const [left, right] = [tokensOf(x, width), tokensOf(y, width)];
  const [n, m, keys] = [x.shape[0] as number, y.shape[0] as number, left.keys.shape[1] as number];
  const rowsOf = (tokens: Tensor) => tokens.reshape([-1, width + 1]);
  const dots = matmul(rowsOf(left.keys), rowsOf(right.keys), { transposeB: true });
  const asked = matmul(rowsOf(left.query), rowsOf(right.query), { transposeB: true });
  const pairs = [n, keys, m, keys];
  const products = multiply(dots.reshape(pairs), asked.reshape([n, 1, m, 1]));
  const sizes = ({ query, keys: own }: typeof left) => multiply(lengths(query), lengths(own));
  const expected = ofProducts(
    products.reshape(dots.shape),
    sizes(left).reshape([-1, 1]),
    sizes(right).reshape([1, -1]),
    1,
  );
  const means = mean(multiply(expected, dots).reshape(pairs), { axes: [1, 3] });
  return multiply(means, x.runtime.tensor([VARIANCE / 2], []));
}

/** The kernel of each point with itself, x [n, p] -> [n]. */
export function attentionDiagonal(x: Tensor, width: number): Tensor<'f32'> {
  const { query, keys } = tokensOf(x, width);
  const dots = matmul(keys, keys, { transposeB: true });
  const asked = matmul(query, query, { transposeB: true });
  const sizes = multiply(lengths(query), lengths(keys));
  const [n, count] = keys.shape as [number, number];
  const expected = ofProducts(multiply(dots, asked), sizes, sizes.reshape([n, 1, count]), 1);
  const means = mean(multiply(expected, dots), { axes: [1, 2] });
  return multiply(means, x.runtime.tensor([VARIANCE / 2], [])) as Tensor<'f32'>;
}
