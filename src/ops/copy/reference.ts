import { rowMajorStrides } from '../../tensor/shape';
import type { Host } from '../op';
import type { CopyCall } from './call';

/** Element by element, each with its place in out. */
export function copy({ x, out }: CopyCall, { numbers, storeAt }: Host): void {
  const places = rowMajorStrides(out.shape);
  numbers(x).forEach((value, at) => {
    const place = out.strides.reduce(
      (sum, stride, axis) => sum + stride * (Math.floor(at / places[axis]!) % out.shape[axis]!),
      0,
    );
    storeAt(out, place, value);
  });
}
