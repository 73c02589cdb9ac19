/** Rows over their root mean square, and the gradient with respect to them, in float64. */
import type { Host } from '../op';
import type { RmsNormCall } from './call';

export function rmsNorm({ x, gradOut, out, epsilon, offset }: RmsNormCall, { numbers, store }: Host): void {
  const columns = x.shape.at(-1) as number;
  const [values, gradients] = [numbers(x), gradOut && numbers(gradOut)];
  const result = new Float64Array(values.length);
  for (let first = 0; first < values.length; first += columns) {
    const row = values.subarray(first, first + columns);
    const root = Math.sqrt(dot(row, row) / columns + epsilon);
    const divisor = root + offset;
    if (divisor === 0) continue;
    const by = gradients?.subarray(first, first + columns);
    const inner = by && root > 0 ? dot(row, by) / (columns * root * divisor ** 2) : 0;
    for (let c = 0; c < columns; c++) {
      result[first + c] = by ? by[c]! / divisor - row[c]! * inner : row[c]! / divisor;
    }
  }
  store(out, result);
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, c) => sum + value * b[c]!, 0);
}
