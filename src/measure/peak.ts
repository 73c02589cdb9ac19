import { multiplyAdds } from '../ops/peak';
import type { Runtime } from '../runtime/runtime';

/** One probe lasts about this many milliseconds. */
const PROBE = 30;

const roundsOf = new WeakMap<Runtime, number>();

/** The rate of the runtime's fastest multiply-add loop right now, in GF/s; undefined on backends without one. */
export async function peakRate(runtime: Runtime): Promise<number | undefined> {
  if (runtime.backend.name === 'reference') return undefined;
  const probe = async (rounds: number) => {
    const start = performance.now();
    const operations = await multiplyAdds(runtime, rounds);
    const elapsed = performance.now() - start;
    return { elapsed, rate: operations / elapsed / 1e6 };
  };
  let rounds = roundsOf.get(runtime);
  if (rounds === undefined) {
    // Doubling also warms up the compilers.
    for (rounds = 1000; (await probe(rounds)).elapsed < PROBE; ) rounds *= 2;
    roundsOf.set(runtime, rounds);
  }
  return (await probe(rounds)).rate;
}
