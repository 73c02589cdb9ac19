/** Local linear attention of a problem without a mask, or a causal one. */
import { area } from '../masks/area';
import { causal } from '../masks/band';
import { largestOf } from '../measure/gate';
import { localLinearAttention } from '../ops/local-linear';
import { localLinear as reference } from '../ops/local-linear/regression';
import { hostTensor } from '../tensor/host';
import { unwritten } from './operation';
import { extentOf, type Operation } from './problem';

/** Iterations assumed until the first result says how many there were. */
const USUAL_ITERATIONS = 8;

/**
 * The forward pass by conjugate gradients. Arithmetic is counted as for kernels that recompute the weights in each pass,
 * (10 + 6 T) d a pair, with the mean T of the iterations that the measured calls took.
 */
export function localLinear(ridge: number): Operation {
  let iterations = USUAL_ITERATIONS;
  return {
    name: `local-linear-${ridge}`,
    growth: 2,
    flops: (problem) => (10 + 6 * iterations) * problem.d * area(problem.mask, extentOf(problem)),
    size: ({ n, h, d }) => n * h * d,
    bytes: ({ n, h, d }) => 4 * n * h * (5 * d + 3),
    // The last row sees all keys, causal or not.
    expected({ n, h, d }, { q, k, v }) {
      const at = (n - 1) * h * d;
      const given = {
        q: hostTensor(q.subarray(at), [1, 1, h, d]),
        k: hostTensor(k, [1, n, h, d]),
        v: hostTensor(v, [1, n, h, d]),
      };
      const numbers = reference(given, { ridge, causal: false, scale: 1 / Math.sqrt(d) }).out.data;
      return [{ known: [{ at, numbers }], largest: largestOf(v), of: 'largest |v|' }];
    },
    open(runtime, { problem: { n, h, d, mask }, inputs }) {
      const tensor = (x: Float32Array) => runtime.tensor(x, [1, n, h, d]);
      const [q, k, v] = [tensor(inputs.q), tensor(inputs.k), tensor(inputs.v)];
      const out = unwritten(runtime, q.shape);
      const call = () => {
        const results = localLinearAttention(q, k, v, { ridge, causal: mask === causal(), out });
        for (const each of [results.lse, results.solution, results.residual]) each.dispose();
        return results.iterations;
      };
      return {
        call: () => call().dispose(),
        async result() {
          using counts = call();
          const numbers = await counts.read();
          iterations = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
          return (await out.read()) as Float32Array;
        },
        tensors: [q, k, v, out],
      };
    },
  };
}
