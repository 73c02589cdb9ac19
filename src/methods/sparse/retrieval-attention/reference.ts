import { buildIndex, ENTRIES, retrieve } from '../../../ops/retrieval/reference';
import type { Elements } from '../../../tensor/elements';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { type Wide, zeros } from '../../reference';

export interface RetrievalInputs<T> {
  /** [b, n, h, d], keys [b, m, g, d] and values [b, m, g, e]. */
  readonly q: T;
  readonly k: T;
  readonly v: T;
  /** [b, p, h, d], those of the prompt. */
  readonly queries?: T | undefined;
}

export interface RetrievalParams {
  readonly index: 'flat' | 'graph' | 'ivf';
  readonly first: number;
  readonly recent: number;
  readonly degree: number;
  readonly neighbors: number;
  readonly cells?: number | undefined;
  readonly probes?: number | undefined;
  readonly topK: number;
  readonly beam: number;
  readonly causal: boolean;
  readonly scale?: number | undefined;
}

/** Numbers of host tensors, which stand for those of a backend. */
const host = {
  numbers: (x: Elements) => toFloat64(x as unknown as HostTensor),
  tensor: (x: Elements) => x as unknown as Wide,
  store: (out: Elements, values: Float64Array) => (out as unknown as Wide).data.set(values),
  storeAt() {},
};

/** Attention to a window and to what an index finds, by plain loops. */
export function reference(
  { q, k, v, queries }: RetrievalInputs<HostTensor>,
  params: RetrievalParams,
): Record<string, Wide> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const e = v.shape[3] as number;
  const first = Math.min(params.first, m);
  const past = Math.max(first, m - params.recent);
  const cells = Math.min(params.cells ?? Math.max(1, Math.round(Math.sqrt(past - first))), Math.max(1, past - first));
  const probes = Math.min(cells, params.probes ?? Math.max(1, Math.floor(cells / 10)));
  const as = (x: HostTensor | undefined) => x as unknown as Elements;
  const capacity = Math.max(1, past - first);
  const graph = () => ({
    edges: as(zeros([b, g, capacity, params.degree])),
    entries: as(zeros([b, g, ENTRIES])),
    codes: as(zeros([b, g, capacity, Math.ceil(d / 4)])),
    columns: as(zeros([b, g, 2, d])),
  });
  const ivf = () => ({
    edges: as(zeros([b, g, capacity, 1])),
    entries: as(zeros([b, g, cells])),
    centers: as(zeros([b, g, cells, d])),
  });
  const held =
    params.index === 'flat' || params.causal
      ? undefined
      : { kind: params.index, first, past, ...(params.index === 'graph' ? graph() : ivf()) };
  if (held)
    buildIndex({ ...held, k: as(k), queries: queries && as(queries), stride: 1, neighbors: params.neighbors }, host);
  const results = { out: zeros([b, n, h, e]), lse: zeros([b, n, h]), scanned: zeros([b, h, n]) };
  const { out, lse, scanned } = results;
  const { topK, beam, recent, causal, scale = 1 / Math.sqrt(d) } = params;
  retrieve(
    {
      ...{ q: as(q), k: as(k), v: as(v), out: as(out), lse: as(lse), scanned: as(scanned) },
      ...{ topK, first, recent, beam: Math.max(beam, topK), probes, causal, scale, index: held },
    },
    host,
  );
  return results;
}
