/** Attention to a window, and to the keys that an index finds among all others; indexes of keys. */
import { ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { type Extents, formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { CacheLayer } from '../cache/layer';
import type { CachedRow } from '../cache/layout';
import {
  boolean,
  choice,
  defineComposite,
  f32,
  i32,
  type OptionsOf,
  optional,
  type ResultsOf,
  setting,
  whole,
} from '../define';
import { checkHeads, largestHead, STRIDED, scale } from '../heads';
import { cachedSource, type KeySource, retrievedBy, sourceOf } from './call';
import { retrieveFlat } from './flat';
import { buildIndex, KeyIndex } from './key-index';
import { MOST_DEGREE, MOST_NEIGHBORS } from './params.generated';

export { KeyIndex } from './key-index';

/** Tokens that are seen by all, and so are in no index. */
const window = {
  /** The first keys, which are seen by all. Default 128. */
  first: whole({ least: 0 }, 128),
  /** The last keys, which are seen too. Default 512. */
  recent: whole({ least: 0 }, 512),
};

const indexed = setting<KeyIndex | undefined>(
  'an index that keyIndex made',
  (value) => value === undefined || value instanceof KeyIndex,
);

/** @internal */
export const keyIndexOp = defineComposite({
  name: 'keyIndex',
  inputs: { k: f32('b m g d', STRIDED) },
  options: {
    /** A graph of keys, or cells of keys around centres (`ivf`). Default: a graph. */
    kind: choice('graph', 'graph', 'ivf'),
    /** [b, p, h, d], f32: the queries that a graph is made for, such as those of the prompt. Default: keys' own neighbours. */
    queries: f32('b p h d', STRIDED),
    ...window,
    /** Edges of a key of a graph, at most. Default 32. */
    degree: whole({ least: 1, most: MOST_DEGREE }, 32),
    /** Keys of each query that make a graph. Default 100. */
    neighbors: whole({ least: 1, most: MOST_NEIGHBORS }, 100),
    /** Default: the square root of the keys, rounded. */
    cells: optional(whole({ least: 1 })),
  },
  largest: largestHead,
  fits({ g, h = g }: Extents, { k, queries }) {
    if (queries) checkHeads({ h, g } as Extents, { q: queries, k: k as Tensor });
  },
  run({ k, kind, queries, first, recent, degree, neighbors, cells }, { signal, onProgress }): KeyIndex {
    const [, m] = k.shape as [number, number];
    const begin = Math.min(first, m);
    const past = Math.max(begin, m - recent);
    const settings = { kind, first: begin, past, degree, neighbors, queries };
    return buildIndex(
      sourceOf(k, k),
      { ...settings, cells: Math.min(cells ?? usualCells(past - begin), Math.max(1, past - begin)) },
      { signal, onProgress },
    );
  },
});

export interface KeyIndexOptions extends OptionsOf<typeof keyIndexOp>, Control {}

/** Cells of so many keys, unless it is said. */
export const usualCells = (keys: number) => Math.max(1, Math.round(Math.sqrt(keys)));

/** The cells that are looked through, unless it is said. */
const usualProbes = (cells: number) => Math.max(1, Math.floor(cells / 10));

/**
 * An index of all keys but the first and the last ones: k [b, m, g, d], f32; one for each key head. A graph links keys that are
 * near to the same queries, as queries may be distributed otherwise than keys. It is made in threads, in memory that does not
 * grow with the heads; wait for it by `await runtime.finish()`.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {DTypeError} an input that is not f32
 */
export const keyIndex = (k: Tensor, options: KeyIndexOptions = {}): KeyIndex => keyIndexOp({ k }, options);

const retrieval = {
  ...window,
  /** Keys that are retrieved. Default 100; all, if there are no more. */
  topK: whole({ least: 1 }, 100),
  /** How retrieved keys are found. Default: by a look at all. */
  index: indexed,
  /** Keys that a search of a graph goes on from, at least `topK`. Default 128. */
  beam: whole({ least: 1, most: 2 ** 16 }, 128),
  /** Cells that are looked through. Default: a tenth. */
  probes: optional(whole({ least: 1 })),
};

/** @internal */
export const retrievedAttentionOp = defineComposite({
  name: 'retrievedAttention',
  inputs: { q: f32('b n h d', STRIDED), k: f32('b m g d', STRIDED), v: f32('b m g e', STRIDED) },
  options: {
    ...retrieval,
    scale,
    /** Whether query i sees key j only if j <= i + m - n, and retrieves among these, by a look at all. Default false. */
    causal: boolean(false),
  },
  results: {
    out: f32('b n h e', { fresh: true }),
    lse: f32('b n h', { fresh: true }),
    scanned: i32('b h n', { fresh: true }),
  },
  largest: largestHead,
  fits: checkHeads,
  run({ q, k, v, ...given }, { signal, onProgress }) {
    const { causal, index } = given;
    const [, n] = q.shape as [number, number];
    const [, m] = k.shape as [number, number];
    if (causal && index) throw new ParameterError('causal retrieval looks at all keys: leave index out');
    if (causal && n > m)
      throw new ShapeError(`q must have at most the ${m} tokens of k if it is causal, got ${formatShape(q.shape)}`);
    return retrieve(q, sourceOf(k, v), given as Retrieval, { signal, onProgress });
  },
});

export interface RetrievedAttentionOptions extends OptionsOf<typeof retrievedAttentionOp>, Control {}
export interface RetrievedAttention extends ResultsOf<typeof retrievedAttentionOp> {}

/**
 * Attention of each query to the first and the last keys, and to the `topK` others with the largest products with it: q [b, n, h, d],
 * k [b, m, g, d], v [b, m, g, e], f32, every key in the past -> out [b, n, h, e], lse [b, n, h], and how many keys were scored to
 * find those, scanned [b, h, n]. No gradients.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {DTypeError} an input that is not f32
 * @throws {ParameterError} an index of other keys
 */
export const retrievedAttention = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: RetrievedAttentionOptions = {},
): RetrievedAttention => retrievedAttentionOp({ q, k, v }, options) as RetrievedAttention;

/** Checked options. */
interface Retrieval {
  readonly topK: number;
  readonly first: number;
  readonly recent: number;
  readonly beam: number;
  readonly probes?: number | undefined;
  readonly index?: KeyIndex | undefined;
  readonly scale: number;
  readonly causal: boolean;
}

function retrieve(q: Tensor, source: KeySource, given: Retrieval, control: Control): RetrievedAttention {
  const { index, topK, first, recent, beam, causal, scale } = given;
  const { m, tensors, runtime } = source;
  const begin = Math.min(first, m);
  if (index) checkIndex(index, source, begin);
  const limit = Math.max(begin, m - recent);
  const isOnGpu = runtime.backend.name === 'webgpu' && !index && !causal;
  if (isOnGpu && tensors && limit - begin > topK)
    return retrieveFlat(q, tensors.k, tensors.v, { topK, first: begin, limit, scale }, control);
  const cells = index?.kind === 'ivf' ? (index.tensors.entries.shape[2] as number) : 0;
  const probes = Math.min(cells, given.probes ?? usualProbes(cells));
  const held = index && { kind: index.kind, first: index.first, past: index.past, ...index.tensors };
  const settings = { topK, first: begin, recent, beam: Math.max(beam, Math.min(topK, m)), probes, causal, scale };
  return retrievedBy(source, { q, index: held, ...settings }, control);
}

/** @throws {ParameterError} an index that is not of these keys */
function checkIndex(index: KeyIndex, { runtime, b, g, d, m }: KeySource, first: number): void {
  if (index.runtime !== runtime)
    throw new ParameterError('index lives on another runtime than k: make both with the same');
  const { edges, centers } = index.tensors;
  const of = `${edges.shape[0]} rows of ${edges.shape[1]} heads, keys ${index.first} to ${index.past - 1}`;
  const fits = edges.shape[0] === b && edges.shape[1] === g && (centers?.shape[3] ?? d) === d;
  if (!fits || index.past > m || index.first !== first)
    throw new ParameterError(
      `index must be of ${b} rows of ${g} heads and begin at key ${first}, with at most ${m} keys, got one of ${of}`,
    );
}

/** The same for the last token of a row of a cache: q [1, 1, h, d] -> out [1, 1, h, e]. */
export function retrieveFromCache(
  q: Tensor,
  layer: CacheLayer,
  row: CachedRow,
  given: Omit<Retrieval, 'causal'>,
  control: Control,
): RetrievedAttention {
  return q.runtime.scope(() => retrieve(q, cachedSource(layer, row, control), { ...given, causal: false }, control));
}

/** The index of a row of a cache, made for these queries [1, p, h, d] if there are any. */
export function indexOfCache(
  layer: CacheLayer,
  row: CachedRow,
  settings: Parameters<typeof buildIndex>[1],
  control: Control,
): KeyIndex {
  const { runtime } = layer;
  return runtime.scope(() => buildIndex(cachedSource(layer, row, control), settings, control));
}

/** Adds the tokens of a row up to before `to` to its index. */
export function extendFromCache(
  index: KeyIndex,
  layer: CacheLayer,
  row: CachedRow,
  to: number,
  control: Control,
): void {
  if (to <= index.past) return;
  layer.runtime.scope(() => index.extend(cachedSource(layer, row, control), to, control));
}
