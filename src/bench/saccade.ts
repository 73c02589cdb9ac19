import { timeCalls } from '../measure/timing';
import type { RuntimeOptions } from '../ops/create-runtime';
import { operationOf } from './attention-operations';
import type { Contender, Session } from './contender';
import type { Runtimes } from './runtimes';

/**
 * Saccade in this process, on a runtime with these options. If it `readsBack`, each call lasts until one number
 * of its result has been read; otherwise calls in a row last until all of them are computed.
 */
export function saccade(runtimes: Runtimes, options: RuntimeOptions, { readsBack = false } = {}): Contender {
  return {
    name: JSON.stringify(options),
    async open(task): Promise<Session> {
      const runtime = await runtimes.get(options);
      runtime.backend.resetPeak();
      const before = runtime.memory().peak;
      const own = operationOf(task.problem).open(runtime, task);
      return {
        threads: options.backend === 'webgpu' ? undefined : (options.threads ?? 1),
        time(calls, signal) {
          const call = () => own.call({ signal });
          if (!readsBack) return timeCalls(runtime, call, calls);
          const finish = async () => {};
          return timeCalls({ finish }, async () => [call(), await own.readOne?.()], calls);
        },
        result: () => own.result(),
        memory: async () => runtime.memory().peak - before,
        close() {
          for (const tensor of own.tensors) tensor.dispose();
        },
      };
    },
  };
}
