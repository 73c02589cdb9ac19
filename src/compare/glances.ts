/** Where a few tokens of a picture look: exact attention over the whole grid, in float64. */
import { full } from '../masks/band';
import { type HostTensor, pickRows } from '../tensor/host';
import type { Glances } from './comparison';
import { softmaxWeights } from './entropy';
import { encodeFloat16 } from './maps';

/** Along each axis of the grid. */
const SPOTS = 3;

/** The attention of nine tokens across a grid [rows, columns], for q [b, n, h, d] and k [b, m, g, d]: of batch 0. */
export function glances(q: HostTensor, k: HostTensor, [rows, columns]: readonly [number, number]): Glances {
  const [, n, h, d] = q.shape as [number, number, number, number];
  const spots = (length: number) => [
    ...new Set(Array.from({ length: SPOTS }, (_, at) => Math.floor(((2 * at + 1) * length) / (2 * SPOTS)))),
  ];
  const tokens = spots(rows).flatMap((row) => spots(columns).map((column) => row * columns + column));
  const looking = { q: pickRows(q, tokens), k };
  const weights = softmaxWeights(looking, { mask: full(), scale: 1 / Math.sqrt(d), queries: tokens, n }).data;
  const heads = Array.from({ length: h }, (_, head) => {
    const shares = new Float64Array(tokens.length * n);
    tokens.forEach((_, at) => {
      const row = weights.subarray((at * h + head) * n, (at * h + head + 1) * n);
      const sum = row.reduce((total, weight) => total + weight, 0);
      shares.set(
        row.map((weight) => weight / sum),
        at * n,
      );
    });
    return encodeFloat16(shares);
  });
  return { tokens, heads };
}
