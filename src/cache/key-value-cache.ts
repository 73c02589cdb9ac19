/** Keys and values of past tokens, for decoders. */
import { checkOptions, checkRecord, checkWhole } from '../check';
import { DisposedError, DTypeError, ParameterError, ShapeError } from '../errors';
import { append, copyPages } from '../ops/cache';
import {
  CacheLayer,
  type CacheLayerOptions,
  type CacheRope,
  cacheRope,
  checkCounts,
  layerSettings,
  rotated,
} from '../ops/cache/layer';
import { type CacheDType, type PageLayout, pageLayout } from '../ops/cache/layout';
import { PAGE_ROWS, STORAGE } from '../ops/cache/params';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import {
  aRuntime,
  choice,
  defineComposite,
  type Needing,
  type OptionsOf,
  optional,
  type Setting,
  whole,
} from '../ops/define';
import type { Control } from '../runtime/backend';
import { LARGEST_HEAD } from '../runtime/cpu/params';
import type { Runtime } from '../runtime/runtime';
import { type HostTensor, hostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { disposeKey, type Tensor } from '../tensor/tensor';
import { describesItself } from '../text/inspect';
import { numbersIn } from './named';
import { PagePool, type SharedPage } from './pool';
import { checkRows, rowLengths } from './rows';
import { restorePages, savedPages } from './saved-pages';

export interface AppendOptions extends Control {
  /** How many of the tokens belong to each row: its first ones. Default: all. */
  readonly counts?: readonly number[] | undefined;
}

/** Tokens kept before a window, so that speculative steps can be undone. */
const SLACK = PAGE_ROWS;

/** A row of a layer; pages by the positions of their tokens. */
interface Row {
  length: number;
  pages: (SharedPage | undefined)[];
}

const layers: Setting<number | readonly CacheLayerOptions[]> = {
  expected: 'an integer >= 1, or the options of each layer',
  check(name, value) {
    if (!Array.isArray(value)) {
      checkWhole(name, value as number, 1);
      return value as number;
    }
    if (value.length === 0) throw new ParameterError(`${name} must be one at least, got an empty list`);
    return Array.from(value, (layer, at) => layerSettings.check(`${name}[${at}]`, layer, {}, {}));
  },
};

const columns = { least: 1, most: LARGEST_HEAD };

/** @internal */
export const createKeyValueCacheOp = defineComposite({
  name: 'createKeyValueCache',
  inputs: { runtime: aRuntime },
  options: {
    /** The number of layers, all with the cache's window and sinks; or a list with each layer's own. */
    layers,
    /** Sequences that are decoded side by side. Default 1. */
    rows: whole({ least: 1 }, 1),
    /** Key/value heads. */
    heads: whole({ least: 1 }),
    /** Columns of a key, to 256. */
    d: whole(columns),
    /** Columns of a value, to 256; default d. */
    e: whole(columns, ({ d }) => d as number),
    /** How rows are stored; `i8` has a scale for each row of a head. Default f32. */
    dtype: choice('f32', ...STORAGE),
    /** Rotary position embeddings of keys; `layer(i).rotate(q)` rotates queries. Default: none. */
    rope: optional(cacheRope),
    /** The most tokens that a layer holds of a row; evicted ones do not count. */
    capacity: whole({ least: 1 }),
    ...layerSettings.settings,
  },
  run({ runtime, layers, rows, heads, d, e, dtype, rope, capacity, window, sinks }) {
    const isList = typeof layers !== 'number';
    if (isList && (window ?? sinks) !== undefined)
      throw new ParameterError('window and sinks are said by layer or for all layers, not both');
    const all = isList ? layers : Array.from({ length: layers }, () => ({ window, sinks }));
    for (const [at, layer] of all.entries())
      if (layer.sinks && layer.window === undefined)
        throw new ParameterError(`sinks of layers[${at}] go with a window: all tokens are kept without one`);
    const layout = pageLayout(dtype, heads, d, e);
    const pool = new PagePool(runtime, layout.bytes);
    const empty = all.map(() => Array.from({ length: rows }, (): Row => ({ length: 0, pages: [] })));
    return new KeyValueCache({ runtime, dtype, layout, capacity, layers: all, rope, pool }, empty);
  },
});

export interface KeyValueCacheOptions
  extends Needing<OptionsOf<typeof createKeyValueCacheOp>, 'layers' | 'heads' | 'd' | 'capacity'> {}

/**
 * Keys and values of the tokens of some sequences, by layer, in pages of 32 tokens: memory follows the tokens held, and
 * nothing is copied as it grows. `attention(q, cache.layer(i), { counts })` reads them where they lie; it and everything
 * else is a call in its turn, and a cache changes at once. Positions stay absolute when a window's past is evicted.
 *
 * An append that is aborted, or whose k or v turn out to be at fault, leaves its tokens at fault until they are taken back.
 *
 * @throws {ParameterError} options that do not fit
 */
export const createKeyValueCache = (runtime: Runtime, options: KeyValueCacheOptions): KeyValueCache =>
  createKeyValueCacheOp({ runtime }, options);

/** What a cache and its forks have in common. */
interface Shared {
  readonly runtime: Runtime;
  readonly dtype: CacheDType;
  readonly layout: PageLayout;
  readonly capacity: number;
  readonly layers: readonly CacheLayerOptions[];
  readonly rope: CacheRope | undefined;
  readonly pool: PagePool;
}

/** Keys and values of tokens by layer, in pages; made by `createKeyValueCache`. */
export class KeyValueCache {
  readonly #shared: Shared;
  /** By layer and row. */
  readonly #rows: Row[][];
  #disposed = false;

  /** Made by `createKeyValueCache` and `fork`. */
  constructor(shared: Shared, rows: Row[][]) {
    this.#shared = shared;
    this.#rows = rows;
  }

  /** A description, such as `KeyValueCache(2 layers, 5 and 7 tokens on wasm)`. */
  toString(): string {
    const held = this.#disposed ? 'disposed' : `${this.lengths.join(', ')} tokens`;
    return `KeyValueCache(${this.layers} layers, ${held}, ${this.#shared.dtype} on ${this.runtime.backend.name})`;
  }

  get runtime(): Runtime {
    return this.#shared.runtime;
  }

  /** Layers. */
  get layers(): number {
    return this.#rows.length;
  }

  /** Tokens of each row that all layers have, evicted ones among them: the position of the next. */
  get lengths(): number[] {
    this.#assertUsable('lengths');
    const [first = []] = this.#rows;
    return first.map((_, row) => Math.min(...this.#rows.map((rows) => (rows[row] as Row).length)));
  }

  /** Bytes of memory that the cache takes together with the forks that it shares pages with. */
  get bytes(): number {
    this.#assertUsable('bytes');
    return this.#shared.pool.bytes;
  }

  /** A layer as an operand: what it holds when an op is called. */
  layer(index: number): CacheLayer {
    this.#assertUsable('layer()');
    this.#layerRows(index);
    const { runtime, dtype, layout, layers, rope } = this.#shared;
    return new CacheLayer(runtime, dtype, layout, layers[index] as CacheLayerOptions, rope, () => {
      this.#assertUsable('layer()');
      return this.#layerRows(index);
    });
  }

  /**
   * Appends tokens to the rows of a layer: k [rows, n, heads, d] and v [rows, n, heads, e], f32, f16 or bf16, of which the
   * first `counts[r]` are row r's. What the layer's window no longer reaches is evicted.
   *
   * @throws {ShapeError} extents, counts that do not fit
   * @throws {ParameterError} tokens beyond the capacity, a layer that there is not
   */
  append(layer: number, k: Tensor, v: Tensor, options: AppendOptions = {}): void {
    this.#assertUsable('append()');
    const rows = this.#layerRows(layer);
    const { runtime, layout, capacity, rope, pool } = this.#shared;
    checkTensors({ k, v });
    if (commonRuntime({ k, v }) !== runtime)
      throw new ParameterError('k and v live on another runtime than the cache: make both with the same runtime');
    checkOptions('append', options, ['counts', 'signal', 'onProgress']);
    checkControl(options);
    const n = k.shape[1] ?? 0;
    const { heads, d, e } = layout;
    for (const [name, x, columns] of [
      ['k', k, d],
      ['v', v, e],
    ] as const) {
      const expected = [rows.length, n, heads, columns];
      if (x.rank !== 4 || expected.some((extent, axis) => extent !== x.shape[axis]))
        throw new ShapeError(
          `${name} must have shape ${formatShape(expected)}, as the cache has ${rows.length} rows and ${heads} heads of ${columns}, got ${formatShape(x.shape)}`,
        );
      if (x.dtype !== 'f32' && x.dtype !== 'f16' && x.dtype !== 'bf16')
        throw new DTypeError(`${name} must be f32, f16 or bf16, got ${x.dtype}`);
    }
    const counts = checkCounts(options.counts, rows.length, n);
    for (const [at, row] of rows.entries()) {
      const tokens = this.#held(layer, row.length) + (counts[at] as number);
      if (tokens > capacity)
        throw new ParameterError(
          `row ${at} of layer ${layer} would hold ${tokens} tokens, more than the capacity of ${capacity}`,
        );
    }
    // New pages, and copies of those that others share and that are written to.
    const plans = rows.map((row, at) => {
      const past = row.length + (counts[at] as number);
      const last = row.pages[Math.floor(row.length / PAGE_ROWS)];
      const isShared = past > row.length && last !== undefined && last.owners > 1;
      return { past, isShared, fresh: Math.ceil(past / PAGE_ROWS) - row.pages.length };
    });
    const taken = pool.take(plans.reduce((sum, { isShared, fresh }) => sum + Number(isShared) + fresh, 0));
    const spare = [...taken];
    const next = rows.map((row, at) => {
      const { isShared, fresh } = plans[at] as (typeof plans)[number];
      // Most tokens go to pages that are there.
      if (fresh <= 0 && !isShared) return row.pages;
      const pages = [...row.pages, ...spare.splice(0, fresh)];
      if (isShared) pages[Math.floor(row.length / PAGE_ROWS)] = spare.pop();
      return pages;
    });
    const copies: { from: SharedPage; to: SharedPage; tokens: number }[] = [];
    const writes = rows.flatMap((row, batch) => {
      const pages = next[batch] as Row['pages'];
      const { past, isShared } = plans[batch] as (typeof plans)[number];
      const current = Math.floor(row.length / PAGE_ROWS);
      const [from, to] = [row.pages[current], pages[current]] as [SharedPage, SharedPage];
      if (isShared) copies.push({ from, to, tokens: row.length % PAGE_ROWS });
      const own = [];
      for (let at = row.length; at < past; ) {
        const end = Math.min(past, (Math.floor(at / PAGE_ROWS) + 1) * PAGE_ROWS);
        const page = pages[Math.floor(at / PAGE_ROWS)] as SharedPage;
        own.push({ batch, token: at - row.length, count: end - at, page, row: at % PAGE_ROWS });
        at = end;
      }
      return own;
    });
    try {
      const first = rows.map(({ length }) => length);
      using own = rope && rope.apply !== 'read' && n > 0 ? rotated(k, first, rope, options) : undefined;
      if (copies.length > 0) copyPages({ layout, copies });
      if (writes.length > 0) append({ k: own ?? k, v, layout, writes }, options);
    } catch (error) {
      for (const page of taken) pool.release(page);
      throw error;
    }
    for (const { from } of copies) pool.release(from);
    for (const [at, row] of rows.entries()) {
      row.pages = next[at] as Row['pages'];
      // What the queries of these tokens see is there until the next.
      this.#evict(layer, row);
      row.length += counts[at] as number;
    }
  }

  /**
   * Takes tokens back: of each row the first `lengths[r]` stay, in all layers.
   *
   * @throws {ParameterError} more tokens than there are, or so few that queries would need evicted ones
   */
  truncate(lengths: number | readonly number[]): void {
    const wanted = this.checkTruncation(lengths);
    for (const rows of this.#rows) {
      for (const [at, row] of rows.entries()) {
        row.length = wanted[at] as number;
        for (const page of row.pages.splice(Math.ceil(row.length / PAGE_ROWS)))
          if (page) this.#shared.pool.release(page);
      }
    }
  }

  /** @internal Throws what `truncate` would, with these names of layers; the lengths of the rows. */
  checkTruncation(
    lengths: number | readonly number[],
    nameOf = (layer: number) => `layer ${layer}`,
  ): readonly number[] {
    this.#assertUsable('truncate()');
    const wanted = rowLengths(lengths, (this.#rows[0] as Row[]).length);
    for (const [at, length] of wanted.entries()) {
      for (const [layer, rows] of this.#rows.entries()) {
        const row = rows[at] as Row;
        if (length > row.length)
          throw new ParameterError(
            `lengths[${at}] must be at most ${row.length}, the tokens of ${nameOf(layer)}, got ${length}`,
          );
        const evicted = this.#firstKept(layer, length);
        const gone = row.pages.findIndex(
          (page, index) => !page && index * PAGE_ROWS < length && (index + 1) * PAGE_ROWS > evicted,
        );
        if (gone >= 0 && length < row.length)
          throw new ParameterError(
            `lengths[${at}] = ${length}: a query there needs tokens that ${nameOf(layer)} evicted: its window reaches back from ${row.length}`,
          );
      }
    }
    return wanted;
  }

  /**
   * A cache whose row i goes on from row `rows[i]` of this one. Pages are shared until one of the caches writes to them.
   */
  fork(rows: readonly number[]): KeyValueCache {
    this.#assertUsable('fork()');
    checkRows(rows, (this.#rows[0] as Row[]).length);
    const { pool } = this.#shared;
    return new KeyValueCache(
      this.#shared,
      this.#rows.map((all) =>
        rows.map((from) => {
          const { length, pages } = all[from] as Row;
          return { length, pages: pages.map((page) => page && pool.share(page)) };
        }),
      ),
    );
  }

  /**
   * A cache with the rows of this one and of others, which must be forks of each other; they share pages as forks do.
   *
   * @throws {ParameterError} a cache that is none of these
   */
  join(others: readonly KeyValueCache[]): KeyValueCache {
    const shared = this.#shared;
    const all = [this, ...others];
    for (const cache of all) {
      cache.#assertUsable('join()');
      if (cache.#shared !== shared) throw new ParameterError('caches can be joined that are forks of each other only');
    }
    const forks = all.map((cache) => cache.fork([...cache.lengths.keys()]));
    return new KeyValueCache(
      shared,
      this.#rows.map((_, layer) => forks.flatMap((fork) => fork.#rows[layer] as Row[])),
    );
  }

  /**
   * What it holds as tensors of a file, which `writeSafetensors` writes: pages as they lie, so that `restore` gives the same bits.
   * Resolves once all that was appended is there.
   */
  async save(): Promise<Record<string, HostTensor<'i32'>>> {
    this.#assertUsable('save()');
    const { runtime, layout } = this.#shared;
    const rows = (this.#rows[0] as Row[]).length;
    const lengths = this.#rows.flatMap((all) => all.map(({ length }) => length));
    const saved: Record<string, HostTensor<'i32'>> = {
      about: hostTensor(Int32Array.from(aboutOf(layout)), [ABOUT.length], 'i32'),
      lengths: hostTensor(Int32Array.from(lengths), [this.layers, rows], 'i32'),
    };
    // As it is now, whatever is appended meanwhile.
    using copy = this.fork(Array.from({ length: rows }, (_, row) => row));
    for (const [layer, all] of copy.#rows.entries())
      for (const [at, row] of all.entries()) {
        const filled = filledOf(row);
        const places = Int32Array.from(filled, ({ place }) => place);
        saved[`places.${layer}.${at}`] = hostTensor(places, [places.length], 'i32');
        saved[`pages.${layer}.${at}`] = await savedPages(runtime, layout, filled);
      }
    return saved;
  }

  /**
   * Takes what `save` gave of a cache with the same layers, rows and heads, in the place of nothing.
   *
   * @throws {ParameterError} a cache that has tokens already; tensors of another cache, or more tokens than its capacity
   */
  restore(saved: Readonly<Record<string, HostTensor>>): void {
    this.#assertUsable('restore()');
    checkRecord('saved', saved);
    const { runtime, layout, capacity, pool } = this.#shared;
    if (this.#rows.some((rows) => rows.some(({ length }) => length > 0)))
      throw new ParameterError(`restore() needs a cache without tokens, got one of ${this.lengths.join(', ')}`);
    const numbers = (name: string, ...shape: readonly number[]) => numbersIn(saved, name, shape);
    const about = [...numbers('about', ABOUT.length)];
    const own = aboutOf(layout);
    const unlike = ABOUT.findIndex((_, at) => about[at] !== own[at]);
    if (unlike >= 0)
      throw new ParameterError(
        `saved must be of a cache with ${ABOUT[unlike]} ${own[unlike]}, got one with ${about[unlike]}`,
      );
    const rows = (this.#rows[0] as Row[]).length;
    const lengths = numbers('lengths', this.layers, rows);
    const next = this.#rows.map((all, layer) =>
      all.map((_, at) => {
        const length = lengths[layer * rows + at] as number;
        const held = this.#held(layer, length);
        if (length < 0 || held > capacity)
          throw new ParameterError(
            `saved has ${held} tokens of row ${at} in layer ${layer}, expected at most the capacity of ${capacity}`,
          );
        const places = numbers(`places.${layer}.${at}`);
        const pages = numbers(`pages.${layer}.${at}`, places.length, layout.bytes / 4);
        const count = Math.ceil(length / PAGE_ROWS);
        const isPlaced = places.every((place, i) => place > (places[i - 1] ?? -1) && place < count);
        if (!isPlaced || !this.#hasWindow(layer, length, places))
          throw new ParameterError(`places.${layer}.${at} of saved must be those of the pages of ${length} tokens`);
        return { length, places, pages, count };
      }),
    );
    const taken = pool.take(next.flat().reduce((sum, { places }) => sum + places.length, 0));
    const spare = [...taken];
    try {
      for (const [layer, all] of next.entries())
        for (const [at, { length, places, pages, count }] of all.entries()) {
          const row = (this.#rows[layer] as Row[])[at] as Row;
          row.pages = new Array<SharedPage | undefined>(count).fill(undefined);
          for (const place of places) row.pages[place] = spare.pop();
          row.length = length;
          restorePages(runtime, layout, hostTensor(pages, [places.length, layout.bytes / 4], 'i32'), filledOf(row));
        }
    } catch (error) {
      for (const rows of this.#rows)
        for (const row of rows) {
          row.pages = [];
          row.length = 0;
        }
      for (const page of taken) pool.release(page);
      throw error;
    }
  }

  /** Returns its pages. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const rows of this.#rows)
      for (const row of rows) for (const page of row.pages.splice(0)) if (page) this.#shared.pool.release(page);
  }

  [disposeKey](): void {
    this.dispose();
  }

  /** The first token after the sinks that a query at `length` may see. */
  #firstKept(layer: number, length: number): number {
    const { window } = this.#shared.layers[layer] as CacheLayerOptions;
    return window === undefined ? 0 : Math.max(0, length + 1 - window);
  }

  /** Tokens of a row of that length that the next query may see. */
  #held(layer: number, length: number): number {
    const { window, sinks: first = 0 } = this.#shared.layers[layer] as CacheLayerOptions;
    return window === undefined ? length : Math.min(length, window - 1 + first);
  }

  /** Whether these places have all that a query behind so many tokens may see. */
  #hasWindow(layer: number, length: number, places: Int32Array): boolean {
    const { window, sinks: first = 0 } = this.#shared.layers[layer] as CacheLayerOptions;
    const from = window === undefined ? 0 : Math.floor(this.#firstKept(layer, length) / PAGE_ROWS);
    const there = new Set(places);
    const isSeen = (place: number) => place >= from || place * PAGE_ROWS < first;
    return Array.from({ length: Math.ceil(length / PAGE_ROWS) }, (_, place) => place).every(
      (place) => !isSeen(place) || there.has(place),
    );
  }

  #evict(layer: number, row: Row): void {
    const { window, sinks: first = 0 } = this.#shared.layers[layer] as CacheLayerOptions;
    if (window === undefined) return;
    const past = Math.floor((this.#firstKept(layer, row.length) - SLACK) / PAGE_ROWS);
    for (let at = Math.ceil(first / PAGE_ROWS); at < past; at++) {
      const page = row.pages[at];
      if (page) this.#shared.pool.release(page);
      row.pages[at] = undefined;
    }
  }

  #layerRows(layer: number): Row[] {
    checkWhole('layer', layer, 0, this.#rows.length - 1);
    return this.#rows[layer] as Row[];
  }

  #assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the key-value cache was disposed`);
    this.#shared.runtime.assertUsable(use);
  }
}

describesItself(KeyValueCache, 'KeyValueCache');

/** What tells pages of one kind from others, and how messages call it. */
const ABOUT = ['pages of', 'numbers of type', 'heads', 'columns of a key', 'columns of a value'] as const;

const aboutOf = ({ dtype, heads, d, e }: PageLayout): readonly number[] => [PAGE_ROWS, dtype, heads, d, e];

/** The pages of a row that are there, and where. */
const filledOf = ({ length, pages }: Row) =>
  pages.flatMap((page, place) =>
    page ? [{ page, place, tokens: Math.min(PAGE_ROWS, length - place * PAGE_ROWS) }] : [],
  );
