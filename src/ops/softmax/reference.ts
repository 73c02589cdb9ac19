/** In float64. */
import type { Host } from '../../runtime/op';
import type { SoftmaxCall, SoftmaxGradientCall } from './call';

export function softmax({ x, out, ...extents }: SoftmaxCall, { numbers, store }: Host): void {
  const values = numbers(x);
  for (const places of rowsOf(extents)) {
    const row = places.map((at) => values[at]!);
    const largest = row.reduce((a, b) => Math.max(a, b));
    const weights = row.map((value) => Math.exp(value - largest));
    const sum = weights.reduce((a, b) => a + b);
    places.forEach((at, i) => {
      values[at] = weights[i]! / sum;
    });
  }
  store(out, values);
}

export function softmaxGradient(
  { out, gradOut, gradX, ...extents }: SoftmaxGradientCall,
  { numbers, store }: Host,
): void {
  const [shares, grads] = [numbers(out), numbers(gradOut)];
  for (const places of rowsOf(extents)) {
    const mean = places.reduce((sum, at) => sum + shares[at]! * grads[at]!, 0);
    for (const at of places) shares[at]! *= grads[at]! - mean;
  }
  store(gradX, shares);
}

/** Where the elements lie that are taken together. */
function* rowsOf({ outer, n, inner }: Pick<SoftmaxCall, 'outer' | 'n' | 'inner'>): Generator<number[]> {
  for (let row = 0; row < outer * inner; row++) {
    const first = Math.floor(row / inner) * n * inner + (row % inner);
    yield Array.from({ length: n }, (_, at) => first + at * inner);
  }
}
