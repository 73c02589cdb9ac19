/** Where a few tokens of a picture look: exact attention over the whole grid, in float64. */
import { type HostTensor, toFloat64 } from '../tensor/host';
import type { Glances } from './comparison';
import { encodeFloat16 } from './maps';

/** Along each axis of the grid. */
const SPOTS = 3;

/** The attention of nine tokens across a grid [rows, columns], for q [b, n, h, d] and k [b, m, g, d]: of batch 0. */
export function glances(q: HostTensor, k: HostTensor, [rows, columns]: readonly [number, number]): Glances {
  const [, n, h, d] = q.shape as [number, number, number, number];
  const g = k.shape[2] as number;
  const [queries, keys] = [toFloat64(q), toFloat64(k)];
  const spots = (length: number) => [
    ...new Set(Array.from({ length: SPOTS }, (_, at) => Math.floor(((2 * at + 1) * length) / (2 * SPOTS)))),
  ];
  const tokens = spots(rows).flatMap((row) => spots(columns).map((column) => row * columns + column));
  const heads = Array.from({ length: h }, (_, head) => {
    const shares = new Float64Array(tokens.length * n);
    tokens.forEach((token, at) => {
      const scores = shares.subarray(at * n, (at + 1) * n);
      for (let key = 0; key < n; key++) {
        let score = 0;
        for (let c = 0; c < d; c++) {
          score +=
            (queries[(token * h + head) * d + c] as number) *
            (keys[(key * g + Math.floor((head * g) / h)) * d + c] as number);
        }
        scores[key] = score / Math.sqrt(d);
      }
      const largest = scores.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY);
      const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
      scores.forEach((score, key) => {
        scores[key] = Math.exp(score - largest) / sum;
      });
    });
    return encodeFloat16(shares);
  });
  return { tokens, heads };
}
