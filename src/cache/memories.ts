/** What methods keep beside keys and values, by layer, behind the interface of a cache. */
import type { Memory } from '../methods/continuation';
import type { CacheLayer } from '../ops/cache/layer';
import type { HostTensor } from '../tensor/host';
import { partOf, prefixed } from './named';

export class Memories {
  constructor(
    /** By layer; one for each. */
    readonly all: readonly Memory[],
    readonly rows: number,
  ) {}

  get bytes(): number {
    return this.all.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  truncate(lengths: readonly number[]): void {
    for (const memory of this.all) memory.truncate(lengths);
  }

  fork(rows: readonly number[]): Memories {
    return new Memories(
      this.all.map((memory) => memory.fork(rows)),
      rows.length,
    );
  }

  join(others: readonly Memories[]): Memories {
    const counts = [this, ...others].map(({ rows }) => rows);
    const all = this.all.map((memory, layer) =>
      memory.join(
        others.map((other) => other.all[layer] as Memory),
        counts,
      ),
    );
    return new Memories(
      all,
      counts.reduce((sum, count) => sum + count, 0),
    );
  }

  /** What all layers keep, for the keys of each. */
  async save(keysOf: (index: number) => CacheLayer): Promise<Record<string, HostTensor>> {
    const saved: Record<string, HostTensor> = {};
    for (const [at, memory] of this.all.entries())
      Object.assign(saved, prefixed(`${at}.`, await memory.save(keysOf(at))));
    return saved;
  }

  async restore(saved: Readonly<Record<string, HostTensor>>, keysOf: (index: number) => CacheLayer): Promise<void> {
    for (const [at, memory] of this.all.entries()) await memory.restore(partOf(`${at}.`, saved), keysOf(at));
  }

  dispose(): void {
    for (const memory of this.all) memory.dispose();
  }
}
