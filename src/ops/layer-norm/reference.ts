import type { Host } from '../op';
import type { LayerNormCall } from './call';

/** In float64. */
export function layerNorm({ x, gain, bias, out, epsilon }: LayerNormCall, { numbers, store }: Host): void {
  const [values, gains, biases] = [numbers(x), numbers(gain), numbers(bias)];
  const columns = gain.size;
  const result = new Float64Array(values.length);
  for (let first = 0; first < values.length; first += columns) {
    const row = values.subarray(first, first + columns);
    const mean = row.reduce((sum, value) => sum + value, 0) / columns;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / columns;
    const factor = 1 / Math.sqrt(variance + epsilon);
    row.forEach((value, c) => {
      result[first + c] = (value - mean) * factor * gains[c]! + biases[c]!;
    });
  }
  store(out, result);
}
