/** Saccade as a peer of its own benchmark: what `peers/host.mjs` runs in a process of its own. */
import { attention, attentionBackward } from '../../ops/attention';
import { createRuntime } from '../../ops/create-runtime';
import type { Tensor } from '../../tensor/tensor';
import { joined } from '../operation';
import { type LongCaProblem, maskOf } from './cases';

interface Setting {
  readonly threads: number;
  readonly backend: 'wasm' | 'webgpu';
}

interface Given extends Omit<LongCaProblem, 'mask'>, Readonly<Record<'q' | 'k' | 'v', Float32Array>> {
  readonly maskName: string;
  /** The gradient of the output, for the backward pass. */
  readonly gradOut?: Float32Array;
}

export async function open({ threads, backend }: Setting) {
  const runtime = await createRuntime(backend === 'wasm' ? { backend, threads } : { backend });
  const prepare = ({ maskName, n, h, g, d, gradOut, ...given }: Given) => {
    const mask = maskOf({ mask: maskName, n, h, g });
    const tensor = (numbers: Float32Array, heads: number) => runtime.tensor(numbers, [1, n, heads, d], 'f32');
    const [q, k, v] = [tensor(given.q, h), tensor(given.k, g), tensor(given.v, g)];
    const forward = { out: runtime.empty([1, n, h, d]), lse: runtime.empty([1, n, h]) };
    const attend = () => void attention(q, k, v, { mask, ...forward });
    if (gradOut) attend();
    const upstream = gradOut && tensor(gradOut, h);
    let results: Tensor[] = gradOut ? [] : [forward.out];
    return {
      async run() {
        if (!upstream) attend();
        else {
          for (const each of results) each.dispose();
          const { gradQ, gradK, gradV } = attentionBackward(q, k, v, { ...forward, gradOut: upstream }, { mask });
          results = [gradQ, gradK, gradV];
        }
        await runtime.finish();
      },
      result: () => joined(results),
      memory: () => (backend === 'wasm' ? undefined : runtime.memory().peak),
    };
  };
  return { ...(backend === 'wasm' && { threads }), prepare };
}
