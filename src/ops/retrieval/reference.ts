/** Indexes of keys, and attention to the keys that they find: plain loops in float64. */
import type { Host } from '../../runtime/op';
import type { Elements } from '../../tensor/elements';
import { at, dot, rowOf } from '../../tensor/wide';
import type { INDEXES } from './kinds';

/** The most neighbours of a key that are looked at. */
export const CANDIDATES = 256;
/** Where searches of a graph begin: the keys that are in most lists. */
export const ENTRIES = 16;
/** Links of each key to others that are drawn, in a graph of the keys' own neighbours, which may fall apart otherwise. */
export const DRAWN = 3;
/** The beam of searches that link keys. */
export const LINKING_BEAM = 64;
/** Rounds by which cells are found. */
export const ROUNDS = 6;

type IndexKind = (typeof INDEXES)[number];

/** What an index of keys [b, m, g, d] from `first` to before `past` consists of (params.ts). */
export interface IndexTensors {
  readonly edges: Elements;
  readonly entries: Elements;
  readonly centers?: Elements | undefined;
}

export interface IndexExtent {
  readonly kind: Exclude<IndexKind, 'flat'>;
  readonly first: number;
  readonly past: number;
}

export interface BuildCall extends IndexExtent, IndexTensors {
  readonly k: Elements;
  /** [b, p, h, d] */
  readonly queries?: Elements | undefined;
  /** Every so-many-th query counts. */
  readonly stride: number;
  readonly neighbors: number;
}

export interface ExtendCall extends IndexExtent, IndexTensors {
  readonly k: Elements;
  readonly to: number;
}

export interface RetrieveCall {
  readonly q: Elements;
  readonly k: Elements;
  readonly v: Elements;
  readonly index?: (IndexExtent & IndexTensors) | undefined;
  readonly topK: number;
  readonly first: number;
  readonly recent: number;
  readonly beam: number;
  readonly probes: number;
  readonly causal: boolean;
  readonly scale: number;
  readonly out: Elements;
  readonly lse: Elements;
  readonly scanned: Elements;
}

interface Scored {
  readonly key: number;
  readonly score: number;
}

/** The largest score first, and the earlier of equal ones. */
const inOrder = (a: Scored, b: Scored) => b.score - a.score || a.key - b.key;

const best = (scored: readonly Scored[], count: number) => [...scored].sort(inOrder).slice(0, count);

function distance(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, c) => sum + (x - at(b, c)) ** 2, 0);
}

/** The rows of a head of x [b, m, g, d], by their places. */
function rowsOf(x: Float64Array, [, m, g, d]: readonly number[], batch: number, head: number) {
  const width = d as number;
  return (j: number) => rowOf(x, (batch * (m as number) + j) * (g as number) + head, width);
}

type Row = (j: number) => Float64Array;

/** An index of one head, keys by their places from the first one of the index on. */
interface HeadIndex {
  /** Edges of each key of a graph, or the keys of each cell. */
  readonly links: number[][];
  /** Where searches of a graph begin. */
  entries: number[];
  readonly centers: readonly Float64Array[];
}

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** The graph of `count` keys from the lists of keys nearest to each query. */
function graphOf(
  key: Row,
  count: number,
  lists: readonly (readonly number[])[],
  degree: number,
  isOfKeys: boolean,
): HeadIndex {
  const near = range(count).map(() => new Set<number>());
  const uses = new Array<number>(count).fill(0);
  for (const list of lists) {
    for (const each of list) uses[each] = at(uses, each) + 1;
    const [first, ...others] = list as [number, ...number[]];
    for (const other of others) {
      near[first]?.add(other);
      near[other]?.add(first);
    }
  }
  const byDistance = (own: number, others: Iterable<number>) =>
    [...others]
      .filter((other) => other !== own)
      .map((other) => ({ key: other, score: -distance(key(own), key(other)) }));
  const most = isOfKeys ? Math.max(1, degree - DRAWN) : degree;
  const links = near.map((others, own) => apart(key, best(byDistance(own, others), CANDIDATES), most));
  if (isOfKeys)
    for (const [own, edges] of links.entries())
      for (let draw = 0; draw < DRAWN; draw++) {
        const drawn = (Math.imul(own * DRAWN + draw + 1, 0x9e3779b1) >>> 0) % count;
        if (drawn !== own) link(edges, drawn, degree);
      }
  const entries = best(
    uses.map((score, key) => ({ key, score })),
    ENTRIES,
  ).map(({ key }) => key);
  connect({ links, entries, centers: [] }, key, degree);
  return { links, entries, centers: [] };
}

const leastDegree = (degree: number) => Math.floor((3 * degree + 3) / 4);

/** From candidates in order those nearer to the key than to all that are kept, then the nearest of the others. */
function apart(key: Row, candidates: readonly Scored[], most: number): number[] {
  const kept: number[] = [];
  const left: number[] = [];
  for (const { key: other, score } of candidates) {
    if (kept.length === most) break;
    const isApart = kept.every((each) => distance(key(other), key(each)) >= -score);
    (isApart ? kept : left).push(other);
  }
  return [...kept, ...left].slice(0, most);
}

/** Keys with few edges find others by a search, and are found by these. */
function connect(index: HeadIndex, key: Row, degree: number): void {
  const { links } = index;
  const least = leastDegree(degree);
  const found = links.map((edges, own) => {
    if (edges.length >= least) return [];
    const near = searchGraph(index, (other) => -distance(key(own), key(other)), links.length, LINKING_BEAM, own);
    return apart(key, near.found, least);
  });
  const uses = new Array<number>(links.length).fill(0);
  const use = (to: number, change: number) => {
    uses[to] = at(uses, to) + change;
  };
  for (const edges of links) for (const to of edges) use(to, 1);
  for (const [own, others] of found.entries()) {
    for (const other of others) {
      if (link(links[own] as number[], other, least)) use(other, 1);
      if (link(links[other] as number[], own, degree)) use(own, 1);
    }
    if (others.length === 0 || at(uses, own) > 0) continue;
    const row = links[others[0] as number] as number[];
    const spare = row.findLastIndex((to, place) => place > 0 && at(uses, to) > 1);
    const place = spare < 0 ? row.length - 1 : spare;
    use(at(row, place), -1);
    row[place] = own;
    use(own, 1);
  }
}

function link(edges: number[], to: number, most: number): boolean {
  if (edges.length >= most || edges.includes(to)) return false;
  edges.push(to);
  return true;
}

/** Best-first search by scores of keys before `limit`, in order, and how many were scored. */
function searchGraph(
  { links, entries }: HeadIndex,
  scoreOf: (key: number) => number,
  limit: number,
  beam: number,
  own = -1,
): { readonly found: Scored[]; readonly scored: number } {
  const seen = new Set([own]);
  const followed = new Set<number>();
  let scored = 0;
  let found: Scored[] = [];
  const see = (keys: readonly number[]) => {
    for (const key of keys) {
      if (key >= limit || seen.has(key)) continue;
      seen.add(key);
      scored++;
      found = best([...found, { key, score: scoreOf(key) }], beam);
    }
  };
  see(entries);
  for (;;) {
    const next = found.find(({ key }) => !followed.has(key));
    if (!next) return { found, scored };
    followed.add(next.key);
    see(links[next.key] as number[]);
  }
}

/** Cells of `count` keys around centres, the latest keys of each first. */
function cellsOf(key: Row, count: number, cells: number): HeadIndex {
  let centers = range(cells).map((cell) => key(Math.floor((cell * count) / cells)));
  for (let round = 0; round < ROUNDS; round++) {
    const own = range(count).map((each) => nearest(key(each), centers));
    centers = centers.map((center, cell) => {
      const keys = range(count).filter((each) => own[each] === cell);
      if (keys.length === 0) return center;
      return center.map((_, c) => keys.reduce((sum, each) => sum + at(key(each), c), 0) / keys.length);
    });
  }
  const links = centers.map((): number[] => []);
  for (let each = 0; each < count; each++) links[nearest(key(each), centers)]?.unshift(each);
  return { links, entries: [], centers };
}

function nearest(x: Float64Array, centers: readonly Float64Array[]): number {
  const [first] = best(
    centers.map((center, key) => ({ key, score: -distance(x, center) })),
    1,
  ) as [Scored];
  return first.key;
}

/** For each query the keys with the largest products, or for each key those nearest to it, itself first. */
function listsOf(call: BuildCall, queries: Float64Array | undefined, key: Row, batch: number, head: number) {
  const { k, past, first, neighbors, stride } = call;
  const count = past - first;
  if (!queries || !call.queries)
    return range(count).map((own) =>
      best(
        range(count).map((other) => ({ key: other, score: -distance(key(own), key(other)) })),
        neighbors,
      ).map(({ key }) => key),
    );
  const [, p, h] = call.queries.shape as [number, number, number];
  const shared = h / (k.shape[2] as number);
  const row = (place: number) =>
    rowsOf(
      queries,
      call.queries?.shape as number[],
      batch,
      head * shared + (place % shared),
    )(Math.floor(place / shared));
  return range(Math.ceil((p * shared) / stride)).map((at) => {
    const query = row(at * stride);
    return best(
      range(count).map((other) => ({ key: other, score: dot(query, key(other)) })),
      neighbors,
    ).map(({ key }) => key);
  });
}

/** The index of a head from its tensors, keys by their places. */
function readIndex(
  { kind, first, past, edges, entries, centers }: IndexExtent & IndexTensors,
  { numbers }: Pick<Host, 'numbers'>,
  head: number,
): HeadIndex {
  const [, , capacity, degree] = edges.shape as [number, number, number, number];
  const starts = [...rowOf(numbers(entries), head, entries.shape[2] as number)];
  const all = rowOf(numbers(edges), head, capacity * degree);
  if (kind === 'graph')
    return {
      links: range(past - first).map((key) =>
        [...rowOf(all, key, degree)].filter((to) => to >= 0).map((to) => to - first),
      ),
      entries: starts.filter((key) => key >= 0).map((key) => key - first),
      centers: [],
    };
  const links = starts.map((start) => {
    const keys: number[] = [];
    for (let key = start; key >= 0; key = at(all, key - first)) keys.push(key - first);
    return keys;
  });
  const [, , cells, d] = (centers as Elements).shape as [number, number, number, number];
  const rows = numbers(centers as Elements);
  return { links, entries: [], centers: range(cells).map((cell) => rowOf(rows, head * cells + cell, d)) };
}

/** Writes the indexes of all heads. */
function storeIndexes(
  indexes: readonly HeadIndex[],
  { kind, first, edges, entries, centers }: IndexExtent & IndexTensors,
  { store }: Pick<Host, 'store'>,
): void {
  const [, , capacity, degree] = edges.shape as [number, number, number, number];
  const starts = entries.shape[2] as number;
  const all = new Float64Array(indexes.length * capacity * degree).fill(-1);
  const begins = new Float64Array(indexes.length * starts).fill(-1);
  for (const [head, { links, entries: own }] of indexes.entries()) {
    const to = rowOf(all, head, capacity * degree);
    const begin = rowOf(begins, head, starts);
    if (kind === 'graph') {
      for (const [key, others] of links.entries())
        for (const [at, other] of others.entries()) to[key * degree + at] = first + other;
      for (const [at, key] of own.entries()) begin[at] = first + key;
      continue;
    }
    for (const [cell, keys] of links.entries()) {
      if (keys.length > 0) begin[cell] = first + (keys[0] as number);
      for (const [at, key] of keys.entries()) if (at + 1 < keys.length) to[key] = first + (keys[at + 1] as number);
    }
  }
  store(edges, all);
  store(entries, begins);
  if (centers) store(centers, Float64Array.from(indexes.flatMap((index) => index.centers.flatMap((row) => [...row]))));
}

export function buildIndex(call: BuildCall, host: Host): void {
  const { kind, k, first, past, queries, edges, entries } = call;
  const [b, , g] = k.shape as [number, number, number];
  const keys = host.numbers(k);
  const own = queries && host.numbers(queries);
  const indexes = range(b * g).map((at): HeadIndex => {
    const [batch, head] = [Math.floor(at / g), at % g];
    const all = rowsOf(keys, k.shape, batch, head);
    const key = (j: number) => all(first + j);
    if (kind === 'ivf') return cellsOf(key, past - first, entries.shape[2] as number);
    return graphOf(key, past - first, listsOf(call, own, key, batch, head), edges.shape[3] as number, !queries);
  });
  storeIndexes(indexes, call, host);
}

export function extendIndex(call: ExtendCall, host: Host): void {
  const { kind, k, first, past, to, edges } = call;
  const [b, , g] = k.shape as [number, number, number];
  const degree = edges.shape[3] as number;
  const keys = host.numbers(k);
  const indexes = range(b * g).map((at) => {
    const all = rowsOf(keys, k.shape, Math.floor(at / g), at % g);
    const key = (j: number) => all(first + j);
    const index = readIndex(call, host, at);
    if (kind === 'ivf') {
      const links = index.links.map((cell) => cell.filter((each) => each < past - first));
      for (let each = past - first; each < to - first; each++) links[nearest(key(each), index.centers)]?.unshift(each);
      return { ...index, links };
    }
    index.entries = index.entries.filter((each) => each < past - first);
    for (let each = past - first; each < to - first; each++) addToGraph(index, key, each, degree);
    return index;
  });
  storeIndexes(indexes, { ...call, past: to }, host);
}

function addToGraph(index: HeadIndex, key: Row, own: number, degree: number): void {
  const near = searchGraph(index, (other) => -distance(key(own), key(other)), own, LINKING_BEAM);
  const edges = apart(key, near.found, leastDegree(degree));
  index.links[own] = edges;
  let isFound = link(index.entries, own, ENTRIES);
  for (const other of edges) if (link(index.links[other] as number[], own, degree)) isFound = true;
  const row = index.links[edges[0] ?? -1];
  if (!isFound && row?.length === degree) row[degree - 1] = own;
}

/** The keys of an index that have the largest products with a query, and how many were scored. */
function find(
  { index, topK, beam, probes }: Pick<RetrieveCall, 'index' | 'topK' | 'beam' | 'probes'>,
  own: HeadIndex | undefined,
  scoreOf: (key: number) => number,
  query: Float64Array,
  count: number,
): { readonly found: readonly Scored[]; readonly scored: number } {
  if (count <= topK) return { found: range(count).map((key) => ({ key, score: scoreOf(key) })), scored: count };
  if (own && index?.kind === 'graph') {
    const { found, scored } = searchGraph(own, scoreOf, count, beam);
    return { found: best(found, topK), scored };
  }
  const probed =
    own &&
    best(
      own.centers.map((center, key) => ({ key, score: dot(query, center) })),
      probes,
    ).flatMap(({ key }) => own.links[key] as number[]);
  const keys = (probed ?? range(count)).filter((key) => key < count);
  return {
    found: best(
      keys.map((key) => ({ key, score: scoreOf(key) })),
      topK,
    ),
    scored: keys.length,
  };
}

export function retrieve(call: RetrieveCall, host: Host): void {
  const { q, k, v, index, causal, scale, out, lse, scanned } = call;
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g, d] = k.shape as [number, number, number, number];
  const e = v.shape[3] as number;
  const [queries, keys, values] = [q, k, v].map((x) => host.numbers(x)) as [Float64Array, Float64Array, Float64Array];
  const indexes = index && range(b * g).map((head) => readIndex(index, host, head));
  const results = {
    out: new Float64Array(b * n * h * e),
    lse: new Float64Array(b * n * h),
    scanned: new Float64Array(b * n * h),
  };
  for (let row = 0; row < b * n * h; row++) {
    const [batch, i, head] = [Math.floor(row / h / n), Math.floor(row / h) % n, row % h];
    const group = Math.floor((head * g) / h);
    const [key, value] = [rowsOf(keys, k.shape, batch, group), rowsOf(values, v.shape, batch, group)];
    const query = rowOf(queries, row, d).map((x) => x * scale);
    const last = causal ? m - n + i + 1 : m;
    const first = Math.min(call.first, last);
    const limit = Math.max(first, Math.min(last - call.recent, index?.past ?? m));
    const scoreOf = (at: number) => dot(query, key(first + at));
    const { found, scored } = find(call, indexes?.[batch * g + group], scoreOf, query, limit - first);
    const seen = [
      ...range(first),
      ...found.map((each) => first + each.key),
      ...range(last - limit).map((at) => limit + at),
    ];
    const scores = seen.map((j) => dot(query, key(j)));
    const most = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - most));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    results.lse[row] = most + Math.log(sum);
    results.scanned[(batch * h + head) * n + i] = scored;
    const to = rowOf(results.out, row, e);
    for (const [place, j] of seen.entries())
      value(j).forEach((x, c) => {
        to[c] = at(to, c) + (at(weights, place) / sum) * x;
      });
  }
  host.store(out, results.out);
  host.store(lse, results.lse);
  host.store(scanned, results.scanned);
}
