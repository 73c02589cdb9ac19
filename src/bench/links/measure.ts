/** What exchange between neighbouring ranks takes, by bytes. */
import type { Communicator } from '../../cluster';

/** So many exchanges of so many bytes are timed together. */
export interface LinkCase {
  readonly bytes: number;
  readonly count: number;
}

export interface LinkPlan {
  readonly rounds: number;
  readonly cases: readonly LinkCase[];
}

/** Microseconds of one exchange of each case: the least of several rounds. */
export async function measureLinks(communicator: Communicator, { rounds, cases }: LinkPlan): Promise<number[]> {
  const { runtime, rank, size } = communicator;
  const [to, from] = [(rank + 1) % size, (rank + size - 1) % size];
  const all: number[] = [];
  for (const { bytes, count } of cases) {
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < rounds; round++) {
      let x = runtime.ones([bytes / 4]);
      await communicator.barrier();
      const start = performance.now();
      for (let each = 0; each < count; each++) {
        // What comes is sent on, so that each exchange waits for the one before it.
        const next = communicator.sendRecv(x, to, from);
        x.dispose();
        x = next;
      }
      await runtime.finish();
      least = Math.min(least, (1e3 * (performance.now() - start)) / count);
      x.dispose();
    }
    all.push(least);
  }
  return all;
}
