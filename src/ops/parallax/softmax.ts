/** Parallax and its gradients as plain loops in float64, straight from the definition. */
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { add, dotAt, zeros } from '../../tensor/wide';
import { type Qkv, type Sees, softmaxRows } from '../attention/softmax';

interface Inputs extends Qkv {
  readonly r: HostTensor;
}

type Of<Name extends string> = Record<Name, HostTensor<'f64'>>;

/** p (1 + level - r k^T) v with p = softmax(scale q k^T) over the keys that `sees` admits and level the mean of r k^T under p. */
export function parallaxAttention(
  { q, r, k, v }: Inputs,
  scale: number,
  sees: Sees,
): Of<'out' | 'lse' | 'mean' | 'level'> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const e = v.shape[3] as number;
  const [probes, keys, values] = [toFloat64(r), toFloat64(k), toFloat64(v)];
  const [out, mean, lse, level] = [zeros([b, n, h, e]), zeros([b, n, h, e]), zeros([b, n, h]), zeros([b, n, h])];
  for (const row of softmaxRows({ q, k }, scale, sees)) {
    lse.data[row.at] = row.lse;
    const products = row.keys.map((key) => dotAt(probes, row.at * d, keys, key * d, d));
    for (const [at, product] of products.entries()) add(level.data, row.at, (row.weights[at] as number) * product);
    row.keys.forEach((key, at) => {
      const weight = row.weights[at] as number;
      const tilted = weight * (1 + (level.data[row.at] as number) - (products[at] as number));
      for (let c = 0; c < e; c++) {
        add(mean.data, row.at * e + c, weight * (values[key * e + c] as number));
        add(out.data, row.at * e + c, tilted * (values[key * e + c] as number));
      }
    });
  }
  return { out, lse, mean, level };
}

/**
 * Gradients of a loss with respect to q, r, k and v, from its gradients with respect to out and, if given, by lse. With p, t =
 * r k^T, w = p (1 + level - t), a = gradOut v^T and its means under p and w: by the scaled scores
 * p (mean_p(a) - mean_w(a) + gradLse) + w (a - mean_p(a)), and by t p (mean_p(a) - a).
 */
export function parallaxAttentionBackward(
  { q, r, k, v, gradOut, gradLse }: Inputs & { readonly gradOut: HostTensor; readonly gradLse?: HostTensor },
  scale: number,
  sees: Sees,
): Of<'gradQ' | 'gradR' | 'gradK' | 'gradV'> {
  const d = q.shape[3] as number;
  const e = v.shape[3] as number;
  const numbers = { q: toFloat64(q), r: toFloat64(r), k: toFloat64(k), v: toFloat64(v), gradOut: toFloat64(gradOut) };
  const byLse = gradLse && toFloat64(gradLse);
  const [gradQ, gradR, gradK, gradV] = [zeros(q.shape), zeros(r.shape), zeros(k.shape), zeros(v.shape)];
  for (const row of softmaxRows({ q, k }, scale, sees)) {
    const sumOf = (terms: readonly number[]) => terms.reduce((sum, term) => sum + term, 0);
    const p = row.weights;
    const t = row.keys.map((key) => dotAt(numbers.r, row.at * d, numbers.k, key * d, d));
    const level = sumOf(t.map((product, at) => (p[at] as number) * product));
    const w = t.map((product, at) => (p[at] as number) * (1 + level - product));
    const a = row.keys.map((key) => dotAt(numbers.gradOut, row.at * e, numbers.v, key * e, e));
    const mean = sumOf(a.map((product, at) => (p[at] as number) * product));
    const tiltedMean = sumOf(a.map((product, at) => (w[at] as number) * product));
    row.keys.forEach((key, at) => {
      const [weight, tilted, product] = [p[at], w[at], a[at]] as [number, number, number];
      const byScore = scale * (weight * (mean - tiltedMean + (byLse?.[row.at] ?? 0)) + tilted * (product - mean));
      const byProduct = weight * (mean - product);
      for (let c = 0; c < e; c++) add(gradV.data, key * e + c, tilted * (numbers.gradOut[row.at * e + c] as number));
      for (let c = 0; c < d; c++) {
        const [own, theirs] = [row.at * d + c, key * d + c];
        add(gradQ.data, own, byScore * (numbers.k[theirs] as number));
        add(gradR.data, own, byProduct * (numbers.k[theirs] as number));
        add(gradK.data, theirs, byScore * (numbers.q[own] as number) + byProduct * (numbers.r[own] as number));
      }
    });
  }
  return { gradQ, gradR, gradK, gradV };
}
