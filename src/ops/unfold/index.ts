/** Pictures as the patches under a window, and sums of patches as a picture. */
import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkSize, perAxis, placesOf, spread } from '../conv/axes';
import { layoutOf, shapeOf } from '../conv/views';
import { contiguous, pad } from '../copy';
import { boolean, defineComposite, f32, type Needing, type OptionsOf } from '../define';
import { gather } from '../gather';
import { scatterAdd } from '../scatter-add';

const window = {
  /** The extents of the window, for all spatial axes or for each. */
  size: perAxis(1),
  /** Elements between windows; default 1. */
  stride: perAxis(1, 1),
  /** Distance between taps; default 1. */
  dilation: perAxis(1, 1),
  /** Zeros before and after each axis; default 0. */
  padding: perAxis(0, 0),
  /** Whether channels come first: pictures are [b, c, ...space] and patches [b, c taps, places]; default false. */
  channelsFirst: boolean(false),
};

/** @internal */
export const unfoldOp = defineComposite({
  name: 'unfold',
  inputs: { x: f32('b ...space c', { strided: true, swappedBy: 'channelsFirst' }) },
  options: window,
  run({ x, channelsFirst, ...sizes }, { signal, onProgress }) {
    const control = { signal, onProgress };
    const { space, channel } = layoutOf(channelsFirst, x.rank);
    const extents = space.map((axis) => x.shape[axis] as number);
    const [b, c] = [x.shape[0] as number, x.shape[channel] as number];
    const { places, taps, windows } = indicesOf(extents, sizes, x.shape);
    checkSize('unfold', [b, places, taps, c]);
    return x.runtime.scope(() => {
      const pixels = contiguous(x.permute([...space, 0, channel]) as Tensor<'f32'>).reshape([sizeOf(extents), b * c]);
      const found = gather(
        pad(pixels, [
          [0, 1],
          [0, 0],
        ]),
        x.runtime.tensor(windows, [taps * places], 'i32'),
        control,
      );
      const parts = found.reshape([taps, places, b, c]);
      return channelsFirst
        ? contiguous(parts.permute([2, 3, 0, 1])).reshape([b, c * taps, places])
        : contiguous(parts.permute([2, 1, 0, 3])).reshape([b, places, taps * c]);
    });
  },
});

/** @internal */
export const foldOp = defineComposite({
  name: 'fold',
  inputs: { x: f32('b places c', { strided: true, swappedBy: 'channelsFirst' }) },
  options: {
    ...window,
    /** The spatial extents of the picture. */
    shape: perAxis(1),
  },
  run({ x, channelsFirst, shape, ...sizes }, { signal, onProgress }) {
    const control = { signal, onProgress };
    const extents = (typeof shape === 'number' ? [shape, shape] : shape) as Shape;
    const { places, taps, windows } = indicesOf(extents, sizes, extents);
    const [b, width, count] = (channelsFirst ? x.shape : [x.shape[0], x.shape[2], x.shape[1]]) as [
      number,
      number,
      number,
    ];
    if (count !== places || width % taps !== 0)
      throw new ShapeError(
        `x must have ${places} places, and a multiple of ${taps} channels, for a picture of ${formatShape(extents)}, got ${formatShape(x.shape)}`,
      );
    const c = width / taps;
    const picture = shapeOf(channelsFirst, b, extents, c);
    checkSize('fold', picture);
    return x.runtime.scope(() => {
      const whole = contiguous(x as Tensor<'f32'>);
      const parts = channelsFirst
        ? whole.reshape([b, c, taps, places]).permute([2, 3, 0, 1])
        : whole.reshape([b, places, taps, c]).permute([2, 1, 0, 3]);
      const rows = contiguous(parts).reshape([taps * places, b * c]);
      const indices = x.runtime.tensor(windows, [taps * places], 'i32');
      const pixels = scatterAdd(rows, indices, sizeOf(extents) + 1, control).slice(0, 0, sizeOf(extents));
      const axes = [...extents, b, c];
      const order = [...axes.keys()];
      const [batch, channel] = [order.at(-2) as number, order.at(-1) as number];
      const space = order.slice(0, -2);
      return contiguous(pixels.reshape(axes).permute(shapeOf(channelsFirst, batch, space, channel)));
    });
  },
});

type Sizes = Readonly<Record<'size' | 'stride' | 'dilation' | 'padding', number | readonly number[]>>;

/** For each tap and each place of the window the pixel, or the number of pixels where there is none. */
function indicesOf(extents: Shape, sizes: Sizes, shape: Shape) {
  const rank = extents.length;
  const of = (name: keyof Sizes) => spread(name, sizes[name], rank);
  const [size, stride, dilation, padding] = [of('size'), of('stride'), of('dilation'), of('padding')];
  const counts = extents.map((extent, at) => {
    const [taps, before] = [size[at] as number, padding[at] as number];
    const sliding = {
      extent,
      taps,
      stride: stride[at] as number,
      dilation: dilation[at] as number,
      before,
      after: before,
    };
    return placesOf(sliding, 'size of the window', shape);
  });
  const [taps, places] = [sizeOf(size), sizeOf(counts)];
  const windows = new Int32Array(taps * places);
  for (let at = 0; at < windows.length; at++) {
    let [tap, place, step, pixel] = [Math.floor(at / places), at % places, 1, 0];
    for (let axis = rank - 1; axis >= 0; axis--) {
      const [width, count, extent] = [size[axis], counts[axis], extents[axis]] as [number, number, number];
      const index =
        (place % count) * (stride[axis] as number) +
        (tap % width) * (dilation[axis] as number) -
        (padding[axis] as number);
      pixel = index < 0 || index >= extent ? -1 : pixel;
      if (pixel >= 0) pixel += index * step;
      else break;
      step *= extent;
      tap = Math.floor(tap / width);
      place = Math.floor(place / count);
    }
    windows[at] = pixel < 0 ? sizeOf(extents) : pixel;
  }
  return { places, taps, windows };
}

export interface UnfoldOptions extends Needing<OptionsOf<typeof unfoldOp>, 'size'>, Control {}
export interface FoldOptions extends Needing<OptionsOf<typeof foldOp>, 'size' | 'shape'>, Control {}

/**
 * The patches of x under a window at each of its places: x [b, ...space, c] -> [b, places, taps c], channels within taps, or with
 * channels first [b, c, ...space] -> [b, c taps, places] as PyTorch has it. f32 of any strides; its gradient is `fold`.
 *
 * @throws {ShapeError} a rank that does not fit, windows larger than the padded x, results of 2^31 elements or more
 * @throws {ParameterError} an option that is unknown or out of range
 */
export const unfold = (x: Tensor, options: UnfoldOptions): Tensor<'f32'> => unfoldOp({ x }, options);

/**
 * The picture of spatial extents `shape` to which each patch is added where it lies: patches in the shape that `unfold` gives
 * them -> [b, ...shape, c], or [b, c, ...shape].
 *
 * @throws {ShapeError} patches that do not fit the picture
 * @throws {ParameterError} an option that is unknown or out of range
 */
export const fold = (x: Tensor, options: FoldOptions): Tensor<'f32'> => foldOp({ x }, options);
