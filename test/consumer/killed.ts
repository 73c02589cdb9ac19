/** A page whose workers are ended by others, while its own thread waits for them and while it does not. */
import * as saccade from '../../src/index';
import type { Agreement } from './agreement';

/** What is right of the results, and of a call afterwards; `cases` are the moments at which results were lost. */
export async function killed(options: saccade.RuntimeOptions): Promise<Agreement> {
  const workers: Worker[] = [];
  globalThis.Worker = class extends Worker {
    constructor(...given: ConstructorParameters<typeof Worker>) {
      super(...given);
      workers.push(this);
    }
  };
  const runtime = await saccade.createRuntime(options);
  const q = runtime.random([1, 2000, 4, 32]);
  const one = runtime.tensor([1], [1]);
  const { live } = runtime.memory();
  const outcome = (x: saccade.Tensor) => {
    const read = x.read() as Promise<Float32Array>;
    x.dispose();
    return read;
  };
  const attend = () => outcome(runtime.scope(() => saccade.attention(q, q, q).out));
  const expected = await attend();
  let [cases, worst] = [0, 0];
  for (let moment = 0; moment < 6; moment++) {
    const result = attend().catch((error) => {
      if (!(error instanceof saccade.BackendError)) throw error;
      cases++;
      return expected;
    });
    await new Promise((resolve) => setTimeout(resolve, 3 * moment));
    for (const worker of workers.slice(moment < 2 ? -2 : -1)) worker.terminate();
    let sum = saccade.add(one, one);
    for (let call = 0; moment % 2 === 0 && call < 5000; call++) {
      sum.dispose();
      sum = saccade.add(one, one);
    }
    worst = Math.max(worst, Math.abs(((await outcome(sum))[0] as number) - 2));
    for (const values of [await result, await attend().catch(attend)])
      values.forEach((value, i) => {
        worst = Math.max(worst, Math.abs(value - (expected[i] as number)));
      });
  }
  const leaked = runtime.memory().live - live;
  runtime.dispose();
  return { explain: runtime.explain(), cases, worst, leaked };
}
