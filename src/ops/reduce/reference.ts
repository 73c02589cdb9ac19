import type { Host } from '../../runtime/op';
import type { ReduceCall, Reduction } from './call';

const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
const max = (values: Float64Array) => values.reduce((a, b) => Math.max(a, b));

const REDUCE: Readonly<Record<Reduction, (values: Float64Array) => number>> = {
  sum,
  mean: (values) => sum(values) / values.length,
  max,
  logSumExp(values) {
    const largest = max(values);
    if (!Number.isFinite(largest)) return largest;
    return largest + Math.log(sum(values.map((value) => Math.exp(value - largest))));
  },
  argmax(values) {
    const largest = max(values);
    return values.findIndex((value) => value === largest || Number.isNaN(value));
  },
};

/** In float64. */
export function reduce({ operation, x, out, outer, n, inner }: ReduceCall, { numbers, store }: Host): void {
  const values = numbers(x);
  const results = Float64Array.from({ length: outer * inner }, (_, at) => {
    const first = Math.floor(at / inner) * n * inner + (at % inner);
    return REDUCE[operation](Float64Array.from({ length: n }, (_, row) => values[first + row * inner] as number));
  });
  store(out, results);
}
