import { attention, attentionBackward } from '../ops/attention';
import type { Control } from '../runtime/backend';
import type { Runtime, RuntimeOptions } from '../runtime/runtime';
import { convert, type HostTensor, hostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import type { Contender, Session, Task } from './contender';
import type { Runtimes } from './runtimes';

/**
 * Saccade itself, in this process, on the runtime with these options. If it `readsBack`, each call lasts until one number
 * of its result has been read; else those in a row last until all of them are computed.
 */
export function saccade(runtimes: Runtimes, options: RuntimeOptions, { readsBack = false } = {}): Contender {
  return {
    name: JSON.stringify(options),
    async open(task): Promise<Session> {
      const runtime = await runtimes.get(options);
      runtime.backend.resetPeak();
      const before = runtime.memory().peak;
      const own = openCall(runtime, task);
      return {
        threads: options.backend === 'webgpu' ? undefined : (options.threads ?? 1),
        async time(calls, signal) {
          await runtime.finish();
          const start = performance.now();
          for (let i = 0; i < calls; i++) {
            own.call({ signal });
            if (readsBack) await own.readOne?.();
          }
          if (!readsBack) await runtime.finish();
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
  call(control: Control): void;
  /** Reads a number of the last call's result. */
  readOne?(): Promise<unknown>;
  result(): Promise<Float32Array>;
  /** What is held, also between calls. */
  readonly tensors: readonly Tensor[];
}

function openCall(runtime: Runtime, task: Task): Call {
  const { operation, backward } = task.problem;
  return operation?.open(runtime, task) ?? (backward ? backwardCall : forwardCall)(runtime, task);
}

function operandsOf(runtime: Runtime, { problem, inputs }: Task) {
  const { n, h, g = h, d, dtype = 'f32' } = problem;
  const tensor = (numbers: Float32Array, heads: number) =>
    runtime.fromHost(convert(hostTensor(numbers, [1, n, heads, d]), dtype));
  return {
    q: tensor(inputs.q, h),
    k: tensor(inputs.k, g),
    v: tensor(inputs.v, g),
    // Not a number until a kernel writes it: nothing left over from elsewhere can pass the gate.
    out: tensor(new Float32Array(n * h * d).fill(Number.NaN), h),
    lse: runtime.empty([1, n, h]),
  };
}

function forwardCall(runtime: Runtime, task: Task): Call {
  const { mask } = task.problem;
  const { q, k, v, out, lse } = operandsOf(runtime, task);
  return {
    call: (control) => void attention(q, k, v, { mask, out, lse, ...control }),
    readOne() {
      using flat = out.reshape([-1]);
      using first = flat.slice(0, 0, 1);
      return first.read();
    },
    result: async () => convert((await out.toHost()) as HostTensor, 'f32').data,
    tensors: [q, k, v, out, lse],
  };
}

function backwardCall(runtime: Runtime, task: Task): Call {
  const { mask } = task.problem;
  const { q, k, v, out, lse } = operandsOf(runtime, task);
  const gradOut = runtime.tensor(task.inputs.gradOut, q.shape, 'f32');
  attention(q, k, v, { mask, out, lse });
  const grads: Tensor[] = [];
  const held = [q, k, v, out, lse, gradOut];
  return {
    call(control) {
      for (const last of grads.splice(0)) last.dispose();
      const { gradQ, gradK, gradV } = attentionBackward(q, k, v, { out, lse, gradOut }, { mask, ...control });
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
