/** What methods keep beside keys and values, by layer, behind the interface of a cache. */
import type { Memory } from '../methods/continuation';

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

  dispose(): void {
    for (const memory of this.all) memory.dispose();
  }
}
