import type { Host } from '../../runtime/op';
import { convert, toFloat64 } from '../../tensor/host';
import { rowMajorStrides } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { CopyCall } from './call';

/** Element by element, each with its place in out. */
export function copy({ x, out, within }: CopyCall, { numbers, store, storeAt }: Host): void {
  if (within) store(within.whole, new Float64Array(within.whole.size).fill(within.value));
  const places = rowMajorStrides(out.shape);
  converted(x, out, numbers(x)).forEach((value, at) => {
    const place = out.strides.reduce(
      (sum, stride, axis) => sum + stride * (Math.floor(at / places[axis]!) % out.shape[axis]!),
      0,
    );
    storeAt(out, place, value);
  });
}

function converted(x: Tensor, out: Tensor, values: Float64Array): Float64Array {
  if (x.dtype === out.dtype || out.dtype === 'f64') return values;
  if (out.dtype === 'i32')
    return values.map((value) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(value) || 0)));
  const floats = convert({ dtype: 'f64', shape: x.shape, data: values }, 'f32');
  return toFloat64(convert(floats, out.dtype));
}
