/** The supervised contrastive loss. Source: Khosla et al. 2020, arXiv 2004.11362. */
import { map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { logSumExp, sum } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';

/** Subtracted from a row's product with itself, which takes no part. */
const NEVER = 1e9;

/** [b, b]: in each row equal shares for the others of its label, which sum to 1 where there are some. */
export function positives(runtime: Runtime, labels: ArrayLike<number>): Tensor<'f32'> {
  const all = Array.from(labels);
  const counts = new Map<number, number>();
  for (const label of all) counts.set(label, (counts.get(label) ?? 0) + 1);
  const shares = new Float32Array(all.length ** 2);
  all.forEach((label, i) => {
    const alike = (counts.get(label) as number) - 1;
    all.forEach((other, j) => {
      if (other === label && i !== j) shares[i * all.length + j] = 1 / alike;
    });
  });
  return runtime.tensor(shares, [all.length, all.length]);
}

/**
 * The mean over rows x [b, z] of how improbable those of their label are among all others: rows of length 1 after division by
 * theirs, products over `temperature`; rows whose label is theirs alone count as 0. `shares` is that of `positives`.
 */
export function contrastiveLoss(x: Tensor, shares: Tensor, temperature: number): Tensor<'f32'> {
  const { runtime } = x;
  const rows = unitRows(x);
  const products = matmul(rows, rows, { transposeB: true });
  const others = map(
    (s, self, { temperature, never }) => s / temperature - never * self,
    products,
    runtime.eye(x.shape[0] as number),
    {
      captured: { temperature, never: NEVER },
    },
  );
  const total = logSumExp(others, { axes: [1], keepDims: true });
  const terms = map((share, all, s) => (share > 0 ? share * (all - s) : 0), shares, total, others);
  return sum(map((term, { b }) => term / b, terms, { captured: { b: x.shape[0] as number } }));
}

/** Rows over their lengths, and zeros as they are. */
export function unitRows(x: Tensor): Tensor<'f32'> {
  const squares = sum(
    map((x) => x * x, x),
    { axes: [1], keepDims: true },
  );
  return map((x, square, { rsqrt }) => x * rsqrt(Math.max(square, 1e-12)), x, squares) as Tensor<'f32'>;
}
