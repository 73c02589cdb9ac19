/** Exact attention under a problem's mask, and its gradients. */
import { area } from '../masks/area';
import { type AttentionSettings, attention, attentionBackward } from '../ops/attention';
import type { Runtime } from '../runtime/runtime';
import { convert, type HostTensor, hostTensor } from '../tensor/host';

import { type Tensor, tensorsIn } from '../tensor/tensor';
import { expectedGradients, expectedResult } from './expected';
import { joined } from './operation';
import { extentOf, type Operation, type Problem, type Task } from './problem';

/** Pairs that the mask lets through. */
const pairs = (problem: Problem) => area(problem.mask, extentOf(problem));

/** A problem's mask in the form in which attention takes it. */
type MakeSettings = (runtime: Runtime, problem: Problem) => AttentionSettings;

const byMask: MakeSettings = (_, { mask }) => ({ mask });

export const forwardBy = (settingsOf: MakeSettings, name = 'attention'): Operation => ({
  name,
  growth: 2,
  flops: (problem) => 4 * problem.d * pairs(problem),
  size: ({ n, h, d }) => n * h * d,
  bytes: ({ n, h, g = h, d, dtype }) => bytesOf(dtype) * 2 * n * (h + g) * d + 4 * n * h,
  expected: expectedResult,
  open(runtime, task) {
    const settings = settingsOf(runtime, task.problem);
    const { q, k, v, out, lse } = operandsOf(runtime, task);
    return {
      call: (control) => void attention(q, k, v, { ...settings, out, lse, ...control }),
      readOne() {
        using flat = out.reshape([-1]);
        using first = flat.slice(0, 0, 1);
        return first.read();
      },
      result: async () => convert((await out.toHost()) as HostTensor, 'f32').data,
      tensors: [q, k, v, out, lse, ...tensorsIn(settings.selection)],
    };
  },
});

/** The gradients with respect to q, k and v one after the other; five products a pair. */
export const backwardBy = (settingsOf: MakeSettings, name = 'attention backward'): Operation => ({
  name,
  growth: 2,
  takesGradient: true,
  flops: (problem) => 10 * problem.d * pairs(problem),
  size: ({ n, h, g = h, d }) => n * (h + 2 * g) * d,
  bytes: ({ n, h, g = h, d, dtype }) => bytesOf(dtype) * n * (4 * h + 4 * g) * d + 4 * n * h,
  expected: (problem, inputs) => expectedGradients(problem, inputs),
  open(runtime, task) {
    const settings = settingsOf(runtime, task.problem);
    const { q, k, v, out, lse } = operandsOf(runtime, task);
    const gradOut = runtime.tensor(task.inputs.gradOut, q.shape, 'f32');
    attention(q, k, v, { ...settings, out, lse });
    const grads: Tensor[] = [];
    const held = [q, k, v, out, lse, gradOut, ...tensorsIn(settings.selection)];
    return {
      call(control) {
        for (const last of grads.splice(0)) last.dispose();
        const { gradQ, gradK, gradV } = attentionBackward(q, k, v, { out, lse, gradOut }, { ...settings, ...control });
        grads.push(gradQ, gradK, gradV);
      },
      result: () => joined(grads),
      get tensors() {
        return [...held, ...grads];
      },
    };
  },
});

const forward = forwardBy(byMask);
export const backward = backwardBy(byMask);

/** What a problem computes; default: exact attention. */
export const operationOf = ({ operation = forward }: Problem): Operation => operation;

/** Useful multiplications and additions. */
export const flopsOf = (problem: Problem): number => operationOf(problem).flops(problem);

const bytesOf = (dtype: Problem['dtype']) => (dtype === 'f16' ? 2 : 4);

function operandsOf(runtime: Runtime, { problem, inputs }: Task) {
  const { n, h, g = h, d, dtype = 'f32' } = problem;
  const tensor = (numbers: Float32Array, heads: number) =>
    runtime.fromHost(convert(hostTensor(numbers, [1, n, heads, d]), dtype));
  return {
    q: tensor(inputs.q, h),
    k: tensor(inputs.k, g),
    v: tensor(inputs.v, g),
    // NaN until a kernel writes it, so that no leftovers can pass the gate.
    out: tensor(new Float32Array(n * h * d).fill(Number.NaN), h),
    lse: runtime.empty([1, n, h]),
  };
}
