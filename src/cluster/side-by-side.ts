import { cast, concat, contiguous } from '../ops/copy';
import type { Tensor } from '../tensor/tensor';

/** Tensors side by side along an axis, of any element type that casts to f32 and back. */
export function sideBySide(parts: readonly Tensor[], axis: number): Tensor {
  const [first] = parts as [Tensor];
  const { dtype } = first;
  if (parts.length === 1) return contiguous(first);
  if (dtype === 'f32' || dtype === 'i32') return concat(parts as Tensor<'f32'>[], axis);
  const wide = parts.map((part) => cast(part, 'f32'));
  return cast(concat(wide, axis), dtype as 'f16');
}
