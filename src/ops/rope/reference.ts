import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';
import type { Rotation } from './rotation';

/**
 * Pairs of elements of each head of x [b,n,h,d] or [n,h,d], any strides, rotated by their angles at the position of their
 * row, or back, and scaled -> out, contiguous, of the same dtype; in place where out is x.
 */
export interface RopeCall {
  readonly x: Tensor;
  readonly out: Tensor;
  /** [n] or [b,n], i32, contiguous; without them rows are at offset, offset + 1, ... */
  readonly positions: Tensor | undefined;
  readonly offset: number;
  readonly rotation: Rotation;
  readonly isInverse: boolean;
}

/** Pair by pair. */
export function rope({ x, out, positions, offset, rotation, isInverse }: RopeCall, { numbers, store }: Host): void {
  const { quarters, isInterleaved, amplitude } = rotation;
  const [n, h, d] = x.shape.slice(-3) as [number, number, number];
  const values = numbers(x).slice();
  const places = positions && numbers(positions);
  for (let first = 0; first < values.length; first += d) {
    const row = Math.floor(first / (h * d));
    const position = places ? places[row % places.length]! : offset + (row % n);
    quarters.forEach((quarter, j) => {
      const angle = ((position * quarter) % 4) * (Math.PI / 2) * (isInverse ? -1 : 1);
      const [a, b] = isInterleaved ? [first + 2 * j, first + 2 * j + 1] : [first + j, first + j + quarters.length];
      const [s, t] = [values[a]!, values[b]!];
      values[a] = amplitude * (s * Math.cos(angle) - t * Math.sin(angle));
      values[b] = amplitude * (t * Math.cos(angle) + s * Math.sin(angle));
    });
  }
  store(out, values);
}
