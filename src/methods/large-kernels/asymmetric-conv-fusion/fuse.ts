/** One sequence as the kernel that slides over another. */
import { checkChoice } from '../../../check';
import { ShapeError } from '../../../errors';
import { conv } from '../../../ops/conv';
import { contiguous } from '../../../ops/copy';
import type { Control } from '../../../runtime/backend';
import { formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { checkShapes } from '../check';

export type FusionPadding = 'same' | 'valid';

/** Throws where no whole kernel lies within x. */
export function checkFits(x: Tensor, y: Tensor, padding: FusionPadding): void {
  if (padding === 'valid' && (y.shape[1] as number) > (x.shape[1] as number))
    throw new ShapeError(
      `y ${formatShape(y.shape)} must have no more rows than x ${formatShape(x.shape)} where padding is valid`,
    );
}

/** x [b, n, c] under kernels [b, m, c], channel by channel. */
export function fuse(x: Tensor, y: Tensor, padding: FusionPadding, control: Control): Tensor<'f32'> {
  const [b, , c] = x.shape as [number, number, number];
  const kernels = contiguous(y.permute([0, 2, 1])).reshape([b * c, 1, y.shape[1] as number]);
  return side(x, kernels, b * c, padding, control);
}

/**
 * The full form, in which every channel of the result sees all channels of x: out[i, j] = the sum over k and c of
 * x[i + k - left, c] y[k, c, j], for x [b, n, c] and y [b, m, c, e] -> [b, n, e], or [b, n - m + 1, e] where `padding` is
 * `valid`; left is floor((m - 1) / 2), or 0. f32.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} a padding other than `same` and `valid`
 */
export function fullConvFusion(
  x: Tensor,
  y: Tensor,
  padding: FusionPadding = 'same',
  options: Control = {},
): Tensor<'f32'> {
  checkChoice('padding', padding, ['same', 'valid']);
  checkShapes('fullConvFusion', { x: 'b n c', y: 'b m c e' }, { x, y }, { control: options });
  checkFits(x, y, padding);
  const [b, m, c, e] = y.shape as [number, number, number, number];
  return x.runtime.scope(() => {
    const kernels = contiguous(y.permute([0, 3, 2, 1])).reshape([b * e, c, m]);
    return side(x, kernels, b, padding, options);
  });
}

/** With the sequences of a batch as groups of channels. */
function side(x: Tensor, kernels: Tensor, groups: number, padding: FusionPadding, control: Control): Tensor<'f32'> {
  const [b, n, c] = x.shape as [number, number, number];
  const [rows, , m] = kernels.shape as [number, number, number];
  const beside = contiguous(x.permute([1, 0, 2])).reshape([1, n, b * c]);
  const out = conv(beside, kernels, { groups, padding: padding === 'same' ? ['same'] : 0, ...control });
  const count = padding === 'same' ? n : n - m + 1;
  return contiguous(out.reshape([count, b, rows / b]).permute([1, 0, 2]));
}
