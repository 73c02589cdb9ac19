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
/** Keys whose edges a search follows at a time. */
export const FOLLOWED = 4;
/** Standard deviations up to which a column of a key's copy goes, in how many steps, and the most of a query's. */
export const SPREAD = 6;
export const LARGEST_CODE = 127;
export const LARGEST_WEIGHT = 32_767;
/** Rounds by which cells are found. */
export const ROUNDS = 6;

type IndexKind = (typeof INDEXES)[number];

/** What an index of keys [b, m, g, d] from `first` to before `past` consists of (params.ts). */
export interface IndexTensors {
  readonly edges: Elements;
  readonly entries: Elements;
  readonly centers?: Elements | undefined;
  readonly codes?: Elements | undefined;
  readonly columns?: Elements | undefined;
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
  /** Copies of the keys of a graph in whole numbers, and of each column the mean, and the step that it is counted in. */
  readonly codes: number[][];
  readonly columns: readonly Column[];
}

interface Column {
  readonly mean: number;
  readonly step: number;
}

const NO_CODES = { codes: [], columns: [] };

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
  const hasEdges = isOfKeys || lists.some((list) => list.length > 1);
  const entries = best(
    uses.map((score, key) => ({ key, score })).filter(({ score }) => hasEdges && score > 0),
    ENTRIES,
  ).map(({ key }) => key);
  const index = { links, entries, centers: [], ...NO_CODES };
  connect(index, key, degree);
  return index;
}

/** Copies of keys of d columns in whole numbers. */
function copiesOf(key: Row, count: number, d: number): Pick<HeadIndex, 'codes' | 'columns'> {
  const columns = columnsOf(key, count, d);
  return { columns, codes: range(count).map((own) => codeOf(key(own), columns)) };
}

/** Means and spreads of what is finite in the columns of keys. */
function columnsOf(key: Row, count: number, d: number): Column[] {
  return range(d).map((c) => {
    const values = range(count)
      .map((each) => at(key(each), c))
      .filter(Number.isFinite);
    const sum = values.reduce((total, x) => total + x, 0);
    const squares = values.reduce((total, x) => total + x * x, 0);
    const mean = sum / Math.max(1, count);
    const deviation = Math.sqrt(Math.max(0, squares / Math.max(1, count) - mean * mean));
    return { mean: Math.fround(mean), step: Math.fround((SPREAD * deviation) / LARGEST_CODE) };
  });
}

/** The nearest whole number up to a largest one, 0 for NaN. */
const rounded = (x: number, largest: number) => Math.round(Math.max(-largest, Math.min(largest, x))) || 0;

/** The copy of a key, by arithmetic in float32, of which it is. */
const codeOf = (key: Float64Array, columns: readonly Column[]) =>
  columns.map(({ mean, step }, c) => rounded(Math.fround(Math.fround(at(key, c) - mean) / step), LARGEST_CODE));

/** The products of a query with the copies of keys, which are whole numbers. */
function productsWithCodes(query: Float64Array, { codes, columns }: HeadIndex): (key: number) => number {
  const parts = columns.map(({ step }, c) => at(query, c) * step);
  const largest = Math.max(0, ...parts.map(Math.abs).filter((part) => !Number.isNaN(part)));
  const weights = parts.map((part) => (largest > 0 ? rounded((part / largest) * LARGEST_WEIGHT, LARGEST_WEIGHT) : 0));
  return (key) => weights.reduce((sum, weight, c) => sum + weight * ((codes[key] as number[])[c] as number), 0);
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

/** Best-first search by scores of keys before `limit`, in order, and how many were scored; it follows the edges of some at a time. */
function searchGraph(
  { links, entries }: Pick<HeadIndex, 'links' | 'entries'>,
  scoreOf: (key: number) => number,
  limit: number,
  beam: number,
  own = -1,
): { readonly found: Scored[]; readonly scored: number } {
  const seen = new Set([own]);
  const followed = new Set<number>();
  let scored = 0;
  let found: Scored[] = [];
  let keys: readonly number[] = entries;
  for (;;) {
    const fresh = [...new Set(keys)].filter((key) => key < limit && !seen.has(key));
    for (const key of fresh) seen.add(key);
    scored += fresh.length;
    found = best([...found, ...fresh.map((key) => ({ key, score: scoreOf(key) }))], beam);
    const next = found.filter(({ key }) => !followed.has(key)).slice(0, FOLLOWED);
    if (next.length === 0) return { found, scored };
    for (const { key } of next) followed.add(key);
    keys = next.flatMap(({ key }) => links[key] as number[]);
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
  // As they are stored, so that a key stays the nearest to its own.
  centers = centers.map((center) => center.map(Math.fround));
  const links = centers.map((): number[] => []);
  for (let each = 0; each < count; each++) links[nearest(key(each), centers)]?.unshift(each);
  return { links, entries: [], centers, ...NO_CODES };
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
  { kind, first, past, edges, entries, centers, codes, columns }: IndexExtent & IndexTensors,
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
      ...readCodes(numbers(codes as Elements), numbers(columns as Elements), columns as Elements, capacity, head),
    };
  const links = starts.map((start) => {
    const keys: number[] = [];
    for (let key = start; key >= 0; key = at(all, key - first)) keys.push(key - first);
    return keys;
  });
  const [, , cells, d] = (centers as Elements).shape as [number, number, number, number];
  const rows = numbers(centers as Elements);
  const own = range(cells).map((cell) => rowOf(rows, head * cells + cell, d));
  return { links, entries: [], centers: own, ...NO_CODES };
}

/** Copies of keys from words of four bytes. */
function readCodes(
  words: Float64Array,
  numbers: Float64Array,
  { shape }: Elements,
  capacity: number,
  head: number,
): Pick<HeadIndex, 'codes' | 'columns'> {
  const d = shape[3] as number;
  const wide = words.length / (capacity * ((shape[0] as number) * (shape[1] as number)));
  const [means, steps] = [rowOf(numbers, 2 * head, d), rowOf(numbers, 2 * head + 1, d)];
  return {
    columns: range(d).map((c) => ({ mean: at(means, c), step: at(steps, c) })),
    codes: range(capacity).map((key) => {
      const own = Int32Array.from(rowOf(words, head * capacity + key, wide));
      return [...new Int8Array(own.buffer, 0, d)];
    }),
  };
}

/** Copies of keys as words of four bytes, the rest of a row zeros. */
function storeCodes(
  indexes: readonly HeadIndex[],
  { edges, codes, columns }: IndexTensors,
  { store }: Pick<Host, 'store'>,
): void {
  if (!codes || !columns) return;
  const capacity = edges.shape[2] as number;
  const bytes = 4 * (codes.shape[3] as number);
  const all = new Int8Array(indexes.length * capacity * bytes);
  for (const [head, own] of indexes.entries())
    for (const [key, code] of own.codes.entries()) all.set(code, (head * capacity + key) * bytes);
  store(codes, Float64Array.from(new Int32Array(all.buffer)));
  const kinds = ['mean', 'step'] as const;
  store(
    columns,
    Float64Array.from(indexes.flatMap((own) => kinds.flatMap((kind) => own.columns.map((column) => column[kind])))),
  );
}

/** Writes the indexes of all heads. */
function storeIndexes(
  indexes: readonly HeadIndex[],
  { kind, first, ...tensors }: IndexExtent & IndexTensors,
  { store }: Pick<Host, 'store'>,
): void {
  const { edges, entries, centers } = tensors;
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
  storeCodes(indexes, tensors, { store });
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
    const graph = graphOf(key, past - first, listsOf(call, own, key, batch, head), edges.shape[3] as number, !queries);
    return { ...graph, ...copiesOf(key, past - first, k.shape[3] as number) };
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
  index.codes[own] = codeOf(key(own), index.columns);
  if (index.entries.length === 0) return;
  let isFound = link(index.entries, own, ENTRIES);
  for (const other of edges) if (link(index.links[other] as number[], own, degree)) isFound = true;
  const row = index.links[edges[0] ?? -1];
  if (!isFound && row?.length === degree) row[degree - 1] = own;
}

/** What a look at some keys has found, how many it scored, and whether it met an index of other keys. */
interface Look {
  readonly found: readonly Scored[];
  readonly scored: number;
  readonly isOfOthers: boolean;
}

/** The first `count` keys that have the largest products with a query, by an index if there is one. */
function find(
  call: Pick<RetrieveCall, 'index' | 'topK' | 'beam' | 'probes'>,
  own: HeadIndex | undefined,
  key: Row,
  query: Float64Array,
  count: number,
): Look {
  const scoreOf = (each: number) => dot(query, key(each));
  const lookAt = (keys: readonly number[]) =>
    best(
      keys.map((each) => ({ key: each, score: scoreOf(each) })),
      call.topK,
    );
  const all = { found: lookAt(range(count)), scored: count, isOfOthers: false };
  if (!own || count <= call.topK) return all;
  const look = call.index?.kind === 'graph' ? inGraph(call.beam) : inCells(call.probes);
  // What finds too few is followed by a look at all.
  return look.found.length < call.topK ? { ...all, isOfOthers: look.isOfOthers } : look;

  function inGraph(beam: number): Look {
    const index = own as HeadIndex;
    const { found, scored } = searchGraph(index, productsWithCodes(query, index), count, beam);
    const again = lookAt(found.map((each) => each.key));
    const first = again[0]?.key;
    const isCopy = (code: readonly number[], at: number) =>
      codeOf(key(at), index.columns).every((x, c) => x === code[c]);
    const isOfOthers = first !== undefined && !isCopy(index.codes[first] as number[], first);
    return { found: again, scored, isOfOthers };
  }

  function inCells(probes: number): Look {
    const { centers, links } = own as HeadIndex;
    const cells = best(
      centers.map((center, cell) => ({ key: cell, score: dot(query, center) })),
      probes,
    ).map((each) => ({ cell: each.key, keys: links[each.key] as number[] }));
    const keys = cells.flatMap((each) => each.keys).filter((each) => each < count);
    const first = cells.find((each) => each.keys.some((one) => one < count));
    const newest = first?.keys[0] ?? count;
    const isOfOthers = newest < count && nearest(key(newest), centers) !== first?.cell;
    return { found: lookAt(keys), scored: keys.length, isOfOthers };
  }
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
    const own = indexes?.[batch * g + group];
    const { found, scored, isOfOthers } = find(call, own, (at) => key(first + at), query, limit - first);
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
    results.scanned[(batch * h + head) * n + i] = isOfOthers ? -1 : scored;
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
