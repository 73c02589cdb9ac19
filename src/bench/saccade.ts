import { attention, attentionBackward } from '../ops/attention';
import type { Control } from '../runtime/backend';
import type { Runtime, RuntimeOptions } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import type { Contender, Session, Task } from './contender';
import type { Runtimes } from './runtimes';

/** Saccade itself, in this process, on the runtime with these options. */
export function saccade(runtimes: Runtimes, options: RuntimeOptions): Contender {
  return {
    name: JSON.stringify(options),
    async open(task): Promise<Session> {
      const runtime = await runtimes.get(options);
      runtime.backend.resetPeak();
      const before = runtime.memory().live;
      const own = await openCall(runtime, task);
      return {
        threads: options.backend === 'webgpu' ? undefined : (options.threads ?? 1),
        async time(calls, signal) {
          const start = performance.now();
          for (let i = 0; i < calls; i++) {
            await own.call({ signal });
            await own.finish?.();
          }
          return (performance.now() - start) / calls;
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

/** A call on tensors that it holds. */
export interface Call {
  call(control: Control): Promise<unknown>;
  /** Resolves when the last call's result is computed, on a backend whose calls resolve before. */
  finish?(): Promise<unknown>;
  result(): Promise<Float32Array>;
  /** What is held, also between calls. */
  readonly tensors: readonly Tensor[];
}

function openCall(runtime: Runtime, task: Task): Promise<Call> {
  const { operation, backward } = task.problem;
  return operation?.open(runtime, task) ?? (backward ? backwardCall : forwardCall)(runtime, task);
}

function operandsOf(runtime: Runtime, { problem, inputs }: Task) {
  const { n, h, g = h, d } = problem;
  return {
    q: runtime.tensor(inputs.q, [1, n, h, d], 'f32'),
    k: runtime.tensor(inputs.k, [1, n, g, d], 'f32'),
    v: runtime.tensor(inputs.v, [1, n, g, d], 'f32'),
    // Not a number until a kernel writes it: nothing left over from elsewhere can pass the gate.
    out: runtime.tensor(new Float32Array(n * h * d).fill(Number.NaN), [1, n, h, d], 'f32'),
    lse: runtime.empty([1, n, h]),
  };
}

async function forwardCall(runtime: Runtime, task: Task): Promise<Call> {
  const { mask } = task.problem;
  const { q, k, v, out, lse } = operandsOf(runtime, task);
  return {
    call: (control) => attention(q, k, v, { mask, out, lse, ...control }),
    // A GPU has finished when something can be read from it, and every contender's calls last until then.
    ...(runtime.backend.name === 'webgpu' && { finish: () => runtime.backend.read(out.storage.buffer, 0, 4) }),
    result: () => out.read() as Promise<Float32Array>,
    tensors: [q, k, v, out, lse],
  };
}

async function backwardCall(runtime: Runtime, task: Task): Promise<Call> {
  const { mask } = task.problem;
  const { q, k, v, out, lse } = operandsOf(runtime, task);
  const gradOut = runtime.tensor(task.inputs.gradOut, q.shape, 'f32');
  await attention(q, k, v, { mask, out, lse });
  const grads: Tensor[] = [];
  const held = [q, k, v, out, lse, gradOut];
  return {
    async call(control) {
      for (const last of grads.splice(0)) last.dispose();
      const { gradQ, gradK, gradV } = await attentionBackward(q, k, v, { out, lse, gradOut }, { mask, ...control });
      grads.push(gradQ, gradK, gradV);
    },
    async result() {
      const joined = new Float32Array(q.size + k.size + v.size);
      let at = 0;
      for (const grad of grads) {
        joined.set((await grad.read()) as Float32Array, at);
        at += grad.size;
      }
      return joined;
    },
    get tensors() {
      return [...held, ...grads];
    },
  };
}
