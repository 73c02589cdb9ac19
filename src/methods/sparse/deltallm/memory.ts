/** Keys as they are held, beside those of a cache, so that a step finds the differences of its own tokens alone. */
import { createKeyValueCache, type KeyValueCache } from '../../../cache/key-value-cache';
import { readCacheFrom } from '../../../ops/cache';
import { CacheLayer } from '../../../ops/cache/layer';
import type { CachedRow } from '../../../ops/cache/layout';
import { concat, contiguous, pad } from '../../../ops/copy';
import { heldRows } from '../../../ops/held-rows';
import type { Tensor } from '../../../tensor/tensor';
import type { Memory } from '../../continuation';

/** Of which attention takes the keys of one row. */
const rowOf = ({ runtime, dtype, layout, options, rope }: CacheLayer, row: CachedRow) =>
  new CacheLayer(runtime, dtype, layout, options, rope, () => [row]);

/** Held keys with the values of the same tokens. What was joined or restored is found anew, since it follows from the keys. */
export class HeldMemory implements Memory {
  #cache: KeyValueCache | undefined;

  get bytes(): number {
    return this.#cache?.bytes ?? 0;
  }

  truncate(lengths: readonly number[]): void {
    this.#cache?.truncate(this.#cache.lengths.map((length, row) => Math.min(length, lengths[row] as number)));
  }

  fork(rows: readonly number[]): HeldMemory {
    const forked = new HeldMemory();
    forked.#cache = this.#cache?.fork(rows);
    return forked;
  }

  join(): HeldMemory {
    return new HeldMemory();
  }

  async save(): Promise<Record<string, never>> {
    return {};
  }

  async restore(): Promise<void> {
    this.dispose();
  }

  dispose(): void {
    this.#cache?.dispose();
    this.#cache = undefined;
  }

  /** By row: the keys as they came and as they are held by the thresholds [heads]. */
  rowsOf(keys: CacheLayer, thresholds: Tensor): Readonly<Record<'exact' | 'held', CacheLayer>>[] {
    const cached = keys.rows;
    const { heads, d, e } = keys.layout;
    // Rounded to 8 bits once more they would differ.
    const dtype = keys.dtype === 'i8' ? 'f32' : keys.dtype;
    const capacity = 2 ** 31 - 1;
    this.#cache ??= createKeyValueCache(keys.runtime, { layers: 1, rows: cached.length, heads, d, e, dtype, capacity });
    const cache = this.#cache;
    const counts = cached.map(({ length }, row) => length - (cache.lengths[row] as number));
    const most = Math.max(...counts);
    if (most > 0) {
      const added = keys.runtime.scope(() => {
        const parts = cached.map((row, at) => this.#added(keys, row, counts[at] as number, at, thresholds));
        const all = (name: 'k' | 'v') =>
          concat(
            parts.map((part, at) => {
              const missing = most - (counts[at] as number);
              return pad(part[name], [
                [0, 0],
                [0, missing],
                [0, 0],
                [0, 0],
              ]);
            }),
            0,
          );
        return { k: all('k'), v: all('v') };
      });
      using k = added.k;
      using v = added.v;
      cache.append(0, k, v, { counts });
    }
    const held = cache.layer(0);
    return held.rows.map((row, at) => ({ exact: rowOf(keys, cached[at] as CachedRow), held: rowOf(held, row) }));
  }

  /** The last `count` tokens of a row: [1, count, heads, d] as they are held, and their values. */
  #added(
    keys: CacheLayer,
    { pages, length }: CachedRow,
    count: number,
    at: number,
    thresholds: Tensor,
  ): Readonly<Record<'k' | 'v', Tensor<'f32'>>> {
    const past = length - count;
    const { k, v } = readCacheFrom(keys, { pages, length }, past, {});
    if (past === 0 || count === 0) return { k: heldRows(k, thresholds).held, v };
    const before = (this.#cache as KeyValueCache).layer(0);
    const { k: held } = readCacheFrom(before, before.rows[at] as CachedRow, past - 1, {});
    return { k: contiguous(heldRows(concat([held, k], 1), thresholds).held.slice(1, 1, count + 1)), v };
  }
}
