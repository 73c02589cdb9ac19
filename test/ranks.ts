/** Ranks that share this thread, each with a runtime of its own: what they send each other goes as between threads. */

import type { Communicator } from '../src/cluster';
import { openCommunicator } from '../src/cluster/communicator';
import { boardOf, ThreadTransport } from '../src/cluster/threads';
import { createRuntime, type RuntimeOptions } from '../src/index';
import { reasonOf } from '../src/text/reason';

/** What `work` returns on each of them. */
export async function onRanks<T>(
  size: number,
  work: (communicator: Communicator) => Promise<T>,
  options: RuntimeOptions & { readonly seconds?: number } = {},
): Promise<T[]> {
  const { seconds, ...backend } = options;
  const board = boardOf(size);
  const rank = async (_: unknown, rank: number) => {
    using runtime = await createRuntime(backend.backend === undefined ? { threads: 1, ...backend } : backend);
    const transport = new ThreadTransport(board, rank, size);
    try {
      using communicator = await openCommunicator(runtime, transport, seconds);
      const result = await work(communicator);
      await runtime.finish();
      transport.close();
      return result;
    } catch (error) {
      transport.fail(reasonOf(error));
      throw error;
    }
  };
  return Promise.all(Array.from({ length: size }, rank));
}
