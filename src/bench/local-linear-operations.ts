/** Local linear attention of a problem without a mask, or a causal one. */
import { area } from '../masks/area';
import { causal } from '../masks/band';
import { largestOf } from '../measure/gate';
import { localLinearAttention } from '../ops/local-linear';
import { localLinear as reference } from '../ops/local-linear/regression';
import { hostTensor } from '../tensor/host';
import type { Operation } from './operation';
import { extentOf, type Problem } from './problem';

/** Before the first result says how many there were. */
const USUAL_ITERATIONS = 8;

/**
 * The forward pass by conjugate gradients. Its arithmetic is that of kernels that compute the weights anew in each pass,
 * (10 + 6 T) d a pair, with the mean T of the iterations that the measured calls took.
 */
export function localLinear(ridge: number): Operation {
  let iterations = USUAL_ITERATIONS;
  const settingsOf = ({ mask }: Problem) => ({ ridge, causal: mask === causal() });
  return {
    name: `local-linear-${ridge}`,
    growth: 2,
    flops: (problem) => (10 + 6 * iterations) * problem.d * area(problem.mask, extentOf(problem)),
    size: ({ n, h, d }) => n * h * d,
    bytes: ({ n, h, d }) => 4 * n * h * (5 * d + 3),
    // The last row sees all keys, causal or not.
    expected(problem, { q, k, v }) {
      const { n, h, d } = problem;
      const at = (n - 1) * h * d;
      const [query, keys, values] = [
        hostTensor(q.subarray(at), [1, 1, h, d]),
        hostTensor(k, [1, n, h, d]),
        hostTensor(v, [1, n, h, d]),
      ] as const;
      const settings = { ridge, causal: false, scale: 1 / Math.sqrt(d) };
      const numbers = reference({ q: query, k: keys, v: values }, settings).out.data as Float64Array;
      return [{ known: [{ at, numbers }], largest: largestOf(v), of: 'largest |v|' }];
    },
    open(runtime, { problem, inputs }) {
      const { n, h, d } = problem;
      const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => runtime.tensor(x, [1, n, h, d]));
      const out = runtime.tensor(new Float32Array(n * h * d).fill(Number.NaN), [1, n, h, d]);
      const held = [q!, k!, v!, out];
      const call = () => {
        const {
          lse,
          solution,
          residual,
          iterations: counts,
        } = localLinearAttention(q!, k!, v!, { ...settingsOf(problem), out });
        for (const each of [lse, solution, residual]) each.dispose();
        return counts;
      };
      return {
        call: () => call().dispose(),
        async result() {
          using counts = call();
          const numbers = await counts.read();
          iterations = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
          return (await out.read()) as Float32Array;
        },
        tensors: held,
      };
    },
  };
}
