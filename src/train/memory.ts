/** The memory that work with tensors takes, without doing it. */
import type { Backend, BackendName } from '../runtime/backend';
import type { Buffer } from '../runtime/memory';
import { runtimeOn } from '../runtime/runtime';
import { typedArray } from '../tensor/dtype';
import { sizeOf } from '../tensor/shape';
import { mapLeaves } from '../tensor/structure';
import { Tensor } from '../tensor/tensor';

/**
 * The most bytes that tensors hold at once while `work` computes from `inputs`, beyond these; undefined where it cannot be told, such
 * as for work that uses other tensors beside them. Ops are called on a backend that counts memory and computes nothing.
 */
export function bytesOfWork<Inputs>(
  name: BackendName,
  inputs: Inputs,
  work: (inputs: Inputs) => unknown,
): number | undefined {
  const backend = countingBackend(name);
  const runtime = runtimeOn(backend);
  try {
    const own = mapLeaves(inputs, (leaf) => (leaf instanceof Tensor ? runtime.empty(leaf.shape, leaf.dtype) : leaf));
    const before = backend.memory().live;
    runtime.scope(() => void work(own as Inputs));
    return backend.memory().peak - before;
  } catch {
    return undefined;
  } finally {
    runtime.dispose();
  }
}

function countingBackend(name: BackendName): Backend {
  let [live, peak] = [0, 0];
  return {
    name,
    allocate(bytes) {
      live += bytes;
      peak = Math.max(peak, live);
      return { bytes };
    },
    release({ bytes }: Buffer) {
      live -= bytes;
    },
    write() {},
    read: async (_, __, length) => new Uint8Array(length),
    known: ({ shape, dtype }) => ({ shape, dtype, data: typedArray(dtype, sizeOf(shape)) }),
    memory: () => ({ live, peak, reserved: live }),
    resetPeak() {
      peak = live;
    },
    explain: () => [],
    dispose() {},
    *run() {
      yield* [];
      return undefined;
    },
  };
}
