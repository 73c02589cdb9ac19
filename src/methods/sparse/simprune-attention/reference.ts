import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, at, dot, rowOf, tensor, type Wide, zeros } from '../../reference';

interface Inputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly tokens: HostTensor;
  readonly noise?: HostTensor | undefined;
}

interface Params {
  readonly grid: readonly [number, number];
  readonly patch: number;
  readonly ratio: number;
  readonly alpha: number;
  readonly recover: 'after' | 'before';
  readonly scale?: number | undefined;
}

/** Pruning by the matrix of all cosines, then attention by loops; gradients through what was chosen. */
export function reference(
  { q, k, v, tokens, noise }: Inputs,
  params: Params,
  gradOut?: HostTensor,
): Record<string, Wide> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [c, e] = [tokens.shape[2] as number, v.shape[3] as number];
  const [queries, keys, values, features] = [q, k, v, tokens].map(toFloat64) as Float64Array[];
  const noises = noise && toFloat64(noise);
  const by = gradOut && toFloat64(gradOut);
  const scale = params.scale ?? 1 / Math.sqrt(d);
  const [out, kept] = [zeros([b, n, h, e]), zeros([b, n])];
  const [gradQ, gradK, gradV] = [zeros(q.shape), zeros(k.shape), zeros(v.shape)];
  for (let batch = 0; batch < b; batch++) {
    const rows = Array.from({ length: n }, (_, i) => rowOf(features!, batch * n + i, c));
    const noiseOf = (i: number) => (noises ? params.alpha * at(noises, batch * n + i) : 0);
    const sources = sourcesOf(rows, noiseOf, params);
    for (const [i, source] of sources.entries()) kept.data[batch * n + i] = Number(source === i);
    const seen = [...sources.keys()].filter((i) => params.recover === 'before' || sources[i] === i);
    for (let row = 0; row < n * h; row++) {
      const [i, head] = [Math.floor(row / h), row % h];
      const place = (token: number) => (batch * n + sources[token]!) * h + head;
      const query = rowOf(queries!, place(i), d);
      const scores = seen.map((j) => scale * dot(query, rowOf(keys!, place(j), d)));
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const sum = weights.reduce((a, w) => a + w);
      const result = rowOf(out.data, (batch * n + i) * h + head, e);
      for (const [at, j] of seen.entries()) addTo(result, rowOf(values!, place(j), e), weights[at]! / sum);
      if (!by) continue;
      const own = rowOf(by, (batch * n + i) * h + head, e);
      const mean = dot(own, result);
      for (const [at, j] of seen.entries()) {
        const weight = weights[at]! / sum;
        addTo(rowOf(gradV.data, place(j), e), own, weight);
        const byScore = scale * weight * (dot(own, rowOf(values!, place(j), e)) - mean);
        addTo(rowOf(gradQ.data, place(i), d), rowOf(keys!, place(j), d), byScore);
        addTo(rowOf(gradK.data, place(j), d), query, byScore);
      }
    }
  }
  const results = { out, kept: tensor(kept.data, [b, n]) };
  return by ? { ...results, grad_q: gradQ, grad_k: gradK, grad_v: gradV } : results;
}

/** For each token the one whose result it takes: itself, or where it is pruned the kept one that it is most like. */
function sourcesOf(
  rows: readonly Float64Array[],
  noiseOf: (token: number) => number,
  { grid: [height, width], patch, ratio }: Params,
): number[] {
  const n = rows.length;
  const norms = rows.map((row) => Math.max(Math.hypot(...row), 1e-12));
  const cosine = (i: number, j: number) => dot(rows[i]!, rows[j]!) / (norms[i]! * norms[j]!);
  const all = [...rows.keys()];
  const scores = all.map((i) => all.reduce((sum, j) => sum + cosine(i, j), noiseOf(i)));
  const bases = new Map<number, number>();
  const [down, across] = [Math.floor(height / patch), Math.floor(width / patch)];
  for (const i of all) {
    const [y, x] = [Math.floor(Math.floor(i / width) / patch), Math.floor((i % width) / patch)];
    if (y >= down || x >= across) continue;
    const best = bases.get(y * across + x);
    if (best === undefined || scores[i]! > scores[best]!) bases.set(y * across + x, i);
  }
  const isBase = new Set(bases.values());
  const order = all
    .filter((i) => !isBase.has(i))
    .map((i) => [i, Math.max(...[...isBase].map((base) => cosine(i, base)))] as const)
    .sort(([i, a], [j, c]) => c - a || i - j);
  const gone = new Set(order.slice(0, Math.floor(ratio * n)).map(([i]) => i));
  const left = all.filter((i) => !gone.has(i));
  return all.map((i) =>
    gone.has(i) ? left.reduce((best, j) => (cosine(i, j) > cosine(i, best) ? j : best), left[0]!) : i,
  );
}
