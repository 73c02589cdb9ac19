import { softmaxAttention, softmaxAttentionBackward } from '../../../ops/attention/softmax';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { at, dotAt } from '../../../tensor/wide';

export interface BilevelInputs<T> {
  /** [b, ...space, h, d]. */
  readonly q: T;
  readonly k: T;
  readonly v: T;
}

export interface BilevelParams {
  readonly regions: number | readonly number[];
  readonly topRegions: number;
  readonly scale?: number | undefined;
}

/** Softmax attention to the keys of the regions whose mean key has the largest products with the mean query of one's own. */
export function reference(
  { q, k, v }: BilevelInputs<HostTensor>,
  { regions, topRegions, scale }: BilevelParams,
  gradOut?: HostTensor,
) {
  const [b, space] = [q.shape[0] as number, q.shape.slice(1, -2)];
  const [h, d] = q.shape.slice(-2) as [number, number];
  const n = space.reduce((product, extent) => product * extent, 1);
  const counts = space.map((_, axis) => (typeof regions === 'number' ? regions : at(regions, axis)));
  const count = counts.reduce((product, each) => product * each, 1);
  const regionOf = (token: number) => {
    let [rest, region, step] = [token, 0, 1];
    for (let axis = space.length - 1; axis >= 0; axis--) {
      const extent = at(space, axis);
      region += step * Math.floor(((rest % extent) * at(counts, axis)) / extent);
      step *= at(counts, axis);
      rest = Math.floor(rest / extent);
    }
    return region;
  };
  const [queries, keys] = [q, k].map((x) => {
    const means = new Float64Array(b * count * h * d);
    toFloat64(x).forEach((value, i) => {
      const [channel, token] = [i % (h * d), Math.floor(i / (h * d))];
      const region = Math.floor(token / n) * count + regionOf(token % n);
      means[region * h * d + channel] = at(means, region * h * d + channel) + (value * count) / n;
    });
    return means;
  }) as [Float64Array, Float64Array];
  const chosen = Array.from({ length: b * count }, (_, own) => {
    const first = Math.floor(own / count) * count;
    const products = Array.from({ length: count }, (_, other) =>
      dotAt(queries, own * h * d, keys, (first + other) * h * d, h * d),
    );
    const order = [...products.keys()].sort((one, other) => at(products, other) - at(products, one) || one - other);
    return new Set(order.slice(0, topRegions));
  });
  const sees = (i: number, j: number, _: number, batch: number) =>
    (chosen[batch * count + regionOf(i)] as Set<number>).has(regionOf(j));
  const flat = (x: HostTensor) => ({ ...x, shape: [b, n, h, x.shape.at(-1) as number] });
  const factor = scale ?? 1 / Math.sqrt(h * d);
  const qkv = { q: flat(q), k: flat(k), v: flat(v) };
  const { out } = softmaxAttention(qkv, factor, sees);
  const results = { out: { ...out, shape: v.shape } };
  if (!gradOut) return results;
  const { gradQ, gradK, gradV } = softmaxAttentionBackward({ ...qkv, gradOut: flat(gradOut) }, factor, sees);
  return {
    ...results,
    grad_q: { ...gradQ, shape: q.shape },
    grad_k: { ...gradK, shape: k.shape },
    grad_v: { ...gradV, shape: v.shape },
  };
}
