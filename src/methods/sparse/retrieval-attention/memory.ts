/** Retrieval in a cache: prompts are attended to exactly and make an index, by which each step retrieves. */

import { partOf, prefixed } from '../../../cache/named';
import { ParameterError } from '../../../errors';
import { attention } from '../../../ops/attention';
import { readCache } from '../../../ops/cache';
import type { CacheLayer } from '../../../ops/cache/layer';
import type { CachedRow } from '../../../ops/cache/layout';
import { concat } from '../../../ops/copy';
import { extendFromCache, indexOfCache, type KeyIndex, retrieveFromCache, usualCells } from '../../../ops/retrieval';
import { loadKeyIndex, saveKeyIndex } from '../../../ops/retrieval/saved';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions, Memory } from '../../continuation';
import type { RetrievalParams } from './reference';

/** An index, and how many rows of caches have it. */
interface Held {
  readonly index: KeyIndex;
  owners: number;
}

/** Keys at which an index is built anew: so many times those that it was built of. */
const GROWTH = 2;

/** The indexes of a layer's rows. Rows that were forked share one until one of them adds to it. */
export class RetrievalMemory implements Memory {
  #rows: (Held | undefined)[] = [];
  /** Keys that each row's index was built of. */
  #built: number[] = [];

  constructor(private readonly params: RetrievalParams) {}

  get bytes(): number {
    return [...new Set(this.#rows)].reduce((sum, held) => sum + (held?.index.bytes ?? 0), 0);
  }

  truncate(lengths: readonly number[]): void {
    const { first, recent } = this.params;
    for (const [row, held] of this.#rows.entries()) {
      const past = (lengths[row] as number) - recent;
      if (!held || past >= held.index.past) continue;
      if (past <= first || held.index.isAtFault) this.#release(row);
      else this.#ownOf(row, held).truncate(past);
    }
  }

  fork(rows: readonly number[]): RetrievalMemory {
    const forked = new RetrievalMemory(this.params);
    forked.#rows = rows.map((row) => this.#rows[row]);
    forked.#built = rows.map((row) => this.#built[row] ?? 0);
    for (const held of forked.#rows) if (held) held.owners++;
    return forked;
  }

  join(others: readonly Memory[], rows: readonly number[]): RetrievalMemory {
    const all = [this, ...(others as RetrievalMemory[])].map((each, at) =>
      each.fork(Array.from({ length: rows[at] as number }, (_, row) => row)),
    );
    const joined = new RetrievalMemory(this.params);
    joined.#rows = all.flatMap((each) => each.#rows);
    joined.#built = all.flatMap((each) => each.#built);
    return joined;
  }

  async save(keys: CacheLayer): Promise<Record<string, HostTensor>> {
    const saved: Record<string, HostTensor> = {};
    for (const [row, held] of this.#rows.entries()) {
      if (!held) continue;
      using k = keysOf(keys, row);
      const built = hostTensor(Int32Array.of(this.#built[row] as number), [1], 'i32');
      Object.assign(saved, prefixed(`${row}.`, { ...(await saveKeyIndex(held.index, k)), built }));
    }
    return saved;
  }

  async restore(saved: Readonly<Record<string, HostTensor>>, keys: CacheLayer): Promise<void> {
    const { index: kind, first } = this.params;
    for (const row of keys.rows.keys()) {
      const tensors = partOf(`${row}.`, saved);
      if (Object.keys(tensors).length === 0) continue;
      using k = keysOf(keys, row);
      const index = await loadKeyIndex(k, tensors);
      if (index.kind !== kind || index.first !== first) {
        const found = `${index.kind} from key ${index.first} on`;
        index.dispose();
        throw new ParameterError(`saved must have an index ${kind} from key ${first} on, got ${found}`);
      }
      this.#release(row);
      this.#rows[row] = { index, owners: 1 };
      this.#built[row] = (tensors.built?.data as Int32Array | undefined)?.[0] ?? index.past - first;
    }
  }

  dispose(): void {
    for (const row of this.#rows.keys()) this.#release(row);
  }

  /** The index of a row up to its window, made for the queries [1, p, h, d] that there are; undefined where none is needed. */
  indexOf(
    row: number,
    layer: CacheLayer,
    cached: CachedRow,
    options: AttendOptions,
    queries?: Tensor,
  ): KeyIndex | undefined {
    const { index: kind, first, recent, topK, degree, neighbors, cells } = this.params;
    const past = cached.length - recent;
    if (kind === 'flat' || past - first <= topK) return undefined;
    // What ended a build, or tokens that were to come, has left no index.
    if (this.#rows[row]?.index.isAtFault) this.#release(row);
    const isOutgrown = past - first > GROWTH * (this.#built[row] ?? 0) && (queries !== undefined || kind === 'ivf');
    if (isOutgrown) this.#release(row);
    const held = this.#rows[row];
    const { signal } = options;
    if (!held) {
      const settings = { kind, first, past, degree, neighbors, cells: cells ?? usualCells(past - first) };
      const index = indexOfCache(layer, cached, { ...settings, queries }, { signal });
      this.#rows[row] = { index, owners: 1 };
      this.#built[row] = past - first;
      return index;
    }
    if (past <= held.index.past) return held.index;
    const own = this.#ownOf(row, held);
    extendFromCache(own, layer, cached, past, { signal });
    return own;
  }

  /** An index that only this row has, and which so may change. */
  #ownOf(row: number, held: Held): KeyIndex {
    if (held.owners === 1) return held.index;
    const index = held.index.copy();
    held.owners--;
    this.#rows[row] = { index, owners: 1 };
    return index;
  }

  #release(row: number): void {
    const held = this.#rows[row];
    this.#rows[row] = undefined;
    this.#built[row] = 0;
    if (held && --held.owners === 0) held.index.dispose();
  }
}

/** The keys of a row, [1, m, g, d]. */
function keysOf(layer: CacheLayer, row: number): Tensor {
  const { length, pages } = layer.rows[row] as CachedRow;
  const { k, v } = readCache(layer, pages, length, {});
  v.dispose();
  return k;
}

/** Prompts see all, and single tokens what is retrieved: q [rows, n, h, d] -> [rows, n, h, e]. */
export function attendByRetrieval(
  q: Tensor,
  keys: CacheLayer,
  options: AttendOptions,
  memory: RetrievalMemory,
  params: RetrievalParams,
): Tensor {
  const { counts, signal } = options;
  const { rows } = keys;
  const [, n, , d] = q.shape as [number, number, number, number];
  const { topK, first, recent, beam, probes, scale = 1 / Math.sqrt(d) } = params;
  const isFew = rows.every(({ length }) => length - first - recent <= topK);
  if (n > 1 || isFew || counts.some((count) => count !== n)) {
    const { out } = attention(q, keys, { scale, ...options });
    for (const [row, cached] of rows.entries()) {
      const count = counts[row] as number;
      if (count > 0) memory.indexOf(row, keys, cached, { counts, signal }, q.slice(0, row, row + 1).slice(1, 0, count));
    }
    return out;
  }
  const outs = rows.map((cached, row) => {
    const index = memory.indexOf(row, keys, cached, options);
    const settings = { topK, first, recent, beam, probes, index, scale };
    return retrieveFromCache(q.slice(0, row, row + 1), keys, cached, settings, { signal }).out;
  });
  return outs.length === 1 ? (outs[0] as Tensor) : concat(outs as Tensor<'f32'>[], 0);
}
