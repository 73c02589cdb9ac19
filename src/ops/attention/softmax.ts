/** Softmax attention and its gradients as plain loops in float64, straight from the definition. */
import type { HostTensor } from '../../tensor/host';
import { toFloat64 } from '../../tensor/host';
import { add, dotAt, zeros } from '../../tensor/wide';

/** Whether query i of a head of a batch sees key j. */
export type Sees = (i: number, j: number, head: number, batch: number) => boolean;

/** What changes a score, and how the new one changes with the old one. */
export interface Modifier {
  value(score: number, i: number, j: number, head: number, batch: number): number;
  slope(score: number, i: number, j: number, head: number, batch: number): number;
  /** The elements of further inputs that the new score depends on, and how it changes with them. */
  elements?(raw: RawScore): readonly InputElement[];
}

interface InputElement {
  readonly input: string;
  readonly index: number;
  readonly factor: number;
}

export interface Qkv {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
}

/**
 * softmax(scale * q k^T, modified, over the keys that `sees` admits) v for q [b,n,h,d], k [b,m,g,d], v [b,m,g,e].
 * Returns out [b,n,h,e] and lse [b,n,h]; a query that sees no key, or whose scores all become -Infinity, gives zeros and
 * -Infinity.
 */
export function softmaxAttention(
  { q, k, v }: Qkv,
  scale: number,
  sees: Sees,
  modifier?: Modifier,
): { out: HostTensor<'f64'>; lse: HostTensor<'f64'> } {
  const [b, n, h] = q.shape as [number, number, number];
  const e = v.shape[3] as number;
  const values = toFloat64(v);
  const out = zeros([b, n, h, e]);
  const lse = zeros([b, n, h]);
  for (const row of softmaxRows({ q, k }, scale, sees, modifier)) {
    lse.data[row.at] = row.lse;
    const sums = out.data.subarray(row.at * e, (row.at + 1) * e);
    for (const [at, key] of row.keys.entries()) {
      const weight = row.weights[at] as number;
      for (let c = 0, from = key * e; c < e; c++) sums[c] = (sums[c] as number) + weight * (values[from + c] as number);
    }
  }
  return { out, lse };
}

/**
 * Gradients of a loss with respect to q, k and v, from its gradients with respect to out and, if given, by lse:
 * dV = P^T dOut; dS = P (dOut V^T - rowsum(out dOut) + dLse) slope; dQ = scale dS K; dK = scale dS^T Q. `onScore` gets
 * the gradient with respect to each modified score, which is dS without the slope. `joint` has what the forward pass gave, where
 * there may have been more keys than these.
 */
export function softmaxAttentionBackward(
  { q, k, v, gradOut, gradLse, joint }: Qkv & GivenBackward,
  scale: number,
  sees: Sees,
  modifier?: Modifier,
  onScore?: (score: RawScore, gradient: number) => void,
): Record<'gradQ' | 'gradK' | 'gradV', HostTensor<'f64'>> {
  const d = q.shape[3] as number;
  const e = v.shape[3] as number;
  const [queries, keys, values, byOut] = [q, k, v, gradOut].map(toFloat64) as [Numbers, Numbers, Numbers, Numbers];
  const byLse = gradLse && toFloat64(gradLse);
  const [out, lse] = joint ? [toFloat64(joint.out), toFloat64(joint.lse)] : [];
  const [gradQ, gradK, gradV] = [zeros(q.shape), zeros(k.shape), zeros(v.shape)];
  for (const row of softmaxRows({ q, k }, scale, sees, modifier)) {
    // gradOut . value for each key; its mean under the weights is out . gradOut.
    const products = row.keys.map((key) => dotAt(byOut, row.at * e, values, key * e, e));
    const mean = out
      ? dotAt(byOut, row.at * e, out, row.at * e, e)
      : products.reduce((sum, product, at) => sum + (row.weights[at] as number) * product, 0);
    const all = lse?.[row.at] ?? row.lse;
    // The share of these keys in the sum over all.
    const share = all === row.lse ? 1 : Math.exp(row.lse - all);
    row.keys.forEach((key, at) => {
      const weight = (row.weights[at] as number) * share;
      const slope = row.slopes?.[at] ?? 1;
      const gradModified = weight * ((products[at] as number) - mean + (byLse?.[row.at] ?? 0));
      onScore?.(row.raw[at] as RawScore, gradModified);
      const gradScore = gradModified * slope;
      for (let c = 0; c < e; c++) add(gradV.data, key * e + c, weight * (byOut[row.at * e + c] as number));
      for (let c = 0; c < d; c++) {
        add(gradQ.data, row.at * d + c, scale * gradScore * (keys[key * d + c] as number));
        add(gradK.data, key * d + c, scale * gradScore * (queries[row.at * d + c] as number));
      }
    });
  }
  return { gradQ, gradK, gradV };
}

interface GivenBackward {
  readonly gradOut: HostTensor;
  readonly gradLse?: HostTensor;
  readonly joint?: Readonly<Record<'out' | 'lse', HostTensor>>;
}

type Numbers = Float64Array;

/** A scaled score before it is modified, and where it stands. */
export interface RawScore {
  readonly score: number;
  readonly i: number;
  readonly j: number;
  readonly head: number;
  readonly batch: number;
}

/** One query of one head: its row in [b, n, h], the rows in [b, m, g] of the keys it sees, and their weights. */
interface Row {
  readonly at: number;
  readonly keys: readonly number[];
  readonly weights: readonly number[];
  readonly raw: readonly RawScore[];
  /** Slopes of the modifier, if there is one. */
  readonly slopes?: readonly number[] | undefined;
  readonly lse: number;
}

export function* softmaxRows(
  { q, k }: Pick<Qkv, 'q' | 'k'>,
  scale: number,
  sees: Sees,
  modifier?: Modifier,
): Generator<Row> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const [queries, keyNumbers] = [toFloat64(q), toFloat64(k)];
  for (let batch = 0; batch < b; batch++) {
    for (let head = 0; head < h; head++) {
      const group = Math.floor((head * g) / h);
      for (let i = 0; i < n; i++) {
        const at = (batch * n + i) * h + head;
        const keys: number[] = [];
        const scores: number[] = [];
        const slopes: number[] = [];
        const raw: RawScore[] = [];
        for (let j = 0; j < m; j++) {
          if (!sees(i, j, head, batch)) continue;
          const key = (batch * m + j) * g + group;
          const score = scale * dotAt(queries, at * d, keyNumbers, key * d, d);
          const modified = modifier ? modifier.value(score, i, j, head, batch) : score;
          // A modifier hides keys by -Infinity, and whatever their values are.
          if (modifier && modified === Number.NEGATIVE_INFINITY) continue;
          keys.push(key);
          scores.push(modified);
          raw.push({ score, i, j, head, batch });
          if (modifier) slopes.push(modifier.slope(score, i, j, head, batch));
        }
        const largest = scores.reduce((a, s) => Math.max(a, s), Number.NEGATIVE_INFINITY);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((a, w) => a + w, 0);
        const lse = keys.length === 0 ? Number.NEGATIVE_INFINITY : largest + Math.log(sum);
        yield { at, keys, raw, weights: weights.map((weight) => weight / sum), ...(modifier && { slopes }), lse };
      }
    }
  }
}
