/** Channels as pixels, and back. */
import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { boolean, defineComposite, f32, type OptionsOf, whole } from '../define';

const inputs = {
  x: f32('b y x c', { strided: true }),
  factor: whole({ least: 1 }),
};
/** Whether channels come before the spatial axes, [b, c, y, x]; default false. */
const channelsFirst = boolean(false);

/** @internal */
export const pixelShuffleOp = defineComposite({
  name: 'pixelShuffle',
  inputs,
  options: { channelsFirst },
  run({ x, factor, channelsFirst }) {
    const [b, rows, columns, c] = extentsOf(x, channelsFirst);
    if (c % factor ** 2 !== 0)
      throw new ShapeError(`x ${formatShape(x.shape)} must have a multiple of ${factor ** 2} channels, got ${c}`);
    return x.runtime.scope(() => {
      const parts = contiguous(x as Tensor<'f32'>);
      if (!channelsFirst) {
        const split = parts.reshape([b, rows, columns, c / factor ** 2, factor, factor]);
        return contiguous(split.permute([0, 1, 4, 2, 5, 3])).reshape([b, rows * factor, columns * factor, -1]);
      }
      const split = parts.reshape([b, c / factor ** 2, factor, factor, rows, columns]);
      return contiguous(split.permute([0, 1, 4, 2, 5, 3])).reshape([b, -1, rows * factor, columns * factor]);
    });
  },
});

/** @internal */
export const pixelUnshuffleOp = defineComposite({
  name: 'pixelUnshuffle',
  inputs,
  options: { channelsFirst },
  run({ x, factor, channelsFirst }) {
    const [b, rows, columns, c] = extentsOf(x, channelsFirst);
    if (rows % factor !== 0 || columns % factor !== 0)
      throw new ShapeError(
        `x ${formatShape(x.shape)} must have rows and columns that ${factor} divides, got ${rows} and ${columns}`,
      );
    const [height, width] = [rows / factor, columns / factor];
    return x.runtime.scope(() => {
      const whole = contiguous(x as Tensor<'f32'>);
      if (!channelsFirst) {
        const split = whole.reshape([b, height, factor, width, factor, c]);
        return contiguous(split.permute([0, 1, 3, 5, 2, 4])).reshape([b, height, width, c * factor ** 2]);
      }
      const split = whole.reshape([b, c, height, factor, width, factor]);
      return contiguous(split.permute([0, 1, 3, 5, 2, 4])).reshape([b, c * factor ** 2, height, width]);
    });
  },
});

function extentsOf(x: Tensor, channelsFirst: boolean): [b: number, rows: number, columns: number, c: number] {
  const { shape } = x;
  if (x.rank !== 4)
    throw new ShapeError(
      `x must have shape ${channelsFirst ? '[b, c, y, x]' : '[b, y, x, c]'}, got ${formatShape(shape)}`,
    );
  const [b, first, second, third] = shape as [number, number, number, number];
  return channelsFirst ? [b, second, third, first] : [b, first, second, third];
}

export interface PixelShuffleOptions extends OptionsOf<typeof pixelShuffleOp>, Control {}

/**
 * A picture of `factor` times the rows and columns from one of factor² times the channels: x [b, y, x, c factor²] -> [b, y factor,
 * x factor, c], or channels first; the order of channels is PyTorch's. f32 of any strides.
 *
 * @throws {ShapeError} a rank that does not fit, channels that factor² does not divide
 */
export const pixelShuffle = (x: Tensor, factor: number, options: PixelShuffleOptions = {}): Tensor<'f32'> =>
  pixelShuffleOp({ x, factor }, options);

/**
 * The inverse of `pixelShuffle`: each square of factor² pixels becomes channels of one.
 *
 * @throws {ShapeError} a rank that does not fit, rows or columns that the factor does not divide
 */
export const pixelUnshuffle = (x: Tensor, factor: number, options: PixelShuffleOptions = {}): Tensor<'f32'> =>
  pixelUnshuffleOp({ x, factor }, options);
