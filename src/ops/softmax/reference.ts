/** In float64. */

import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** The axis of a softmax between those before and behind it: all are [outer, n, inner], f32, contiguous. */
export interface Extents {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

export interface SoftmaxCall extends Extents {
  readonly x: Tensor;
  readonly out: Tensor;
}

/** The gradient with respect to x from gradOut, that with respect to out, the result. */
export interface SoftmaxGradientCall extends Extents {
  readonly out: Tensor;
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
}

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
function* rowsOf({ outer, n, inner }: Extents): Generator<number[]> {
  for (let row = 0; row < outer * inner; row++) {
    const first = Math.floor(row / inner) * n * inner + (row % inner);
    yield Array.from({ length: n }, (_, at) => first + at * inner);
  }
}
