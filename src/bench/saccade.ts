import { attention } from '../ops/attention';
import type { RuntimeOptions } from '../runtime/runtime';
import type { Contender, Session } from './contender';
import { MASKS } from './problem';
import type { Runtimes } from './runtimes';

/** Saccade itself, in this process, on the runtime with these options. */
export function saccade(runtimes: Runtimes, options: RuntimeOptions): Contender {
  return {
    name: JSON.stringify(options),
    async open({ problem: { n, h, d, mask }, inputs }): Promise<Session> {
      const runtime = await runtimes.get(options);
      runtime.backend.resetPeak();
      const before = runtime.memory().live;
      const shape = [1, n, h, d];
      const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((data) => runtime.tensor(data, shape, 'f32'));
      // Not a number until a kernel writes it: nothing left over from elsewhere can pass the gate.
      const out = runtime.tensor(new Float32Array(n * h * d).fill(Number.NaN), shape, 'f32');
      const lse = runtime.empty([1, n, h]);
      const tensors = [q, k, v, out, lse];
      return {
        threads: options.threads ?? 1,
        async time(calls, signal) {
          const start = performance.now();
          for (let i = 0; i < calls; i++) await attention(q!, k!, v!, { ...MASKS[mask], out, lse, signal });
          return (performance.now() - start) / calls;
        },
        result: () => out.read(),
        memory: async () => runtime.memory().peak - before,
        close() {
          for (const tensor of tensors) tensor?.dispose();
        },
      };
    },
  };
}
