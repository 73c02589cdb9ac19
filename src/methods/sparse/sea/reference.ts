import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { add, addTo, at, dot, rowOf, type Wide, zeros } from '../../reference';

export interface SeaInputs<T> {
  /** [b, n, h, d]. */
  readonly q: T;
  readonly k: T;
  readonly v: T;
  /** [b, h, n, w], whose rows sum to 1. */
  readonly estimate: T;
  /** [b, n, h] each. */
  readonly prob: T;
  readonly mix: T;
}

export interface SeaParams {
  readonly keys: number;
  readonly causal: boolean;
  readonly pool?: 'query' | 'head' | 'batch' | 'causal-batch' | undefined;
  readonly scale?: number | undefined;
}

/** Attention to the keys of the largest cells, times `prob`, mixed with a mean of the values; the choice has no gradient. */
export function reference(
  inputs: SeaInputs<HostTensor>,
  params: SeaParams,
  gradOut?: HostTensor,
): Record<string, Wide> {
  const { causal, scale } = params;
  const [b, n, h, d] = inputs.q.shape as [number, number, number, number];
  const [g, e, w] = [...inputs.v.shape.slice(2), inputs.estimate.shape[3]] as [number, number, number];
  const wide = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, toFloat64(x as HostTensor)]));
  const { q, k, v, estimate, prob, mix } = wide as unknown as SeaInputs<Float64Array>;
  const factor = scale ?? 1 / Math.sqrt(d);
  const kept = keptCells(estimate, params, { b, n, h, w });
  const cells = range(n).map((j) => cellOf(j, n, w));
  /** The mean of the estimated maps of each head. */
  const means = range(causal ? 0 : b * h).map((head) =>
    cells.map((cell) => range(n).reduce((sum, query) => sum + at(estimate, (head * n + query) * w + cell), 0) / n),
  );
  const out = zeros([b, n, h, e]);
  const byOut = gradOut && toFloat64(gradOut);
  const grads = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, zeros(shape)]));
  for (let row = 0; row < b * n * h; row++) {
    const [head, i, batch] = [row % h, Math.floor(row / h) % n, Math.floor(row / h / n)];
    const visible = causal ? i + 1 : n;
    const map = (query: number) => ((batch * h + head) * n + query) * w;
    const keyRow = (j: number) => (batch * n + j) * g + Math.floor((head * g) / h);
    const seen = range(visible).filter((j) => kept[map(i) + cellOf(j, visible, w)]);
    const scores = seen.map((j) => factor * dot(rowOf(q, row, d), rowOf(k, keyRow(j), d)));
    const most = Math.max(...scores);
    const sum = scores.reduce((total, score) => total + Math.exp(score - most), 0);
    const weights = scores.map((score) => Math.exp(score - most) / sum);
    const chosen = new Float64Array(e);
    for (const [place, j] of seen.entries()) addTo(chosen, rowOf(v, keyRow(j), e), at(weights, place));
    // The share of each value in the mean.
    const shares = causal ? range(visible).map(() => 1 / visible) : (means[batch * h + head] as number[]);
    const mean = new Float64Array(e);
    for (const [j, share] of shares.entries()) addTo(mean, rowOf(v, keyRow(j), e), share);
    const [own, mixed] = [at(prob, row), at(mix, row)];
    addTo(rowOf(out.data, row, e), chosen, mixed * own);
    addTo(rowOf(out.data, row, e), mean, 1 - mixed);
    if (!byOut) continue;
    const by = rowOf(byOut, row, e);
    const gradOf = (name: keyof typeof inputs) => (grads[name] as Wide).data;
    add(gradOf('prob'), row, mixed * dot(by, chosen));
    add(gradOf('mix'), row, own * dot(by, chosen) - dot(by, mean));
    for (const [j, share] of shares.entries()) {
      addTo(rowOf(gradOf('v'), keyRow(j), e), by, (1 - mixed) * share);
      if (causal) continue;
      const byShare = ((1 - mixed) * dot(by, rowOf(v, keyRow(j), e))) / n;
      for (let query = 0; query < n; query++) add(gradOf('estimate'), map(query) + (cells[j] as number), byShare);
    }
    for (const [place, j] of seen.entries()) {
      const weight = mixed * own * at(weights, place);
      addTo(rowOf(gradOf('v'), keyRow(j), e), by, weight);
      const byScore = factor * weight * (dot(by, rowOf(v, keyRow(j), e)) - dot(by, chosen));
      addTo(rowOf(gradOf('q'), row, d), rowOf(k, keyRow(j), d), byScore);
      addTo(rowOf(gradOf('k'), keyRow(j), d), rowOf(q, row, d), byScore);
    }
  }
  if (!gradOut) return { out };
  return { out, ...Object.fromEntries(Object.entries(grads).map(([name, grad]) => [`grad_${name}`, grad])) };
}

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

const cellOf = (j: number, visible: number, width: number) =>
  Math.max(0, Math.floor(((j + 0.5) / visible) * width - 1e-4));

/** Whether the pool of each cell of the estimate keeps it. */
function keptCells(
  estimate: Float64Array,
  { keys, causal, pool = causal ? 'causal-batch' : 'query' }: SeaParams,
  { b, n, h, w }: Readonly<Record<'b' | 'n' | 'h' | 'w', number>>,
): boolean[] {
  const pools = new Map<string, number[]>();
  for (let cell = 0; cell < b * h * n * w; cell++) {
    const [i, head, batch] = [Math.floor(cell / w) % n, Math.floor(cell / w / n) % h, Math.floor(cell / w / n / h)];
    const of = { query: [batch, head, i], head: [batch, head], batch: [batch], 'causal-batch': [batch, i] }[pool];
    const members = pools.get(of.join()) ?? [];
    members.push(cell);
    pools.set(of.join(), members);
  }
  const kept = new Array<boolean>(estimate.length).fill(false);
  for (const members of pools.values()) {
    const rows = members.length / w;
    const visible = causal ? (Math.floor((members[0] as number) / w) % n) + 1 : n;
    const budget = Math.max(1, Math.floor((rows * keys * w) / visible + 0.5));
    const order = [...members].sort((one, other) => at(estimate, other) - at(estimate, one) || one - other);
    for (const cell of order.slice(0, budget)) kept[cell] = true;
  }
  return kept;
}
