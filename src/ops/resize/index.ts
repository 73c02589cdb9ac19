/** Pictures of another size. */
import { ParameterError } from '../../errors';
import type { Tensor } from '../../tensor/tensor';
import { checkSize, perAxis, spread } from '../conv/axes';
import { layoutOf, shapeOf } from '../conv/views';
import { boolean, choice, defineComposite, f32, type Needing, type OptionsOf, type Setting } from '../define';
import type { ResultOptions } from '../float32';
import { weighed } from './along';
import { type ResizeMode, resizeTaps } from './taps';

const size: Setting<number | readonly number[]> = perAxis(1);

/** @internal */
export const resizeOp = defineComposite({
  name: 'resize',
  inputs: { x: f32('b ...space c', { strided: true, swappedBy: 'channelsFirst' }) },
  options: {
    /** The extents of the result, for all spatial axes or for each. */
    size,
    /** How results lie between elements of x; area: the mean of those that a result covers; default bilinear. */
    mode: choice('bilinear', 'nearest', 'bilinear', 'bicubic', 'area'),
    /** Whether the outermost elements of x and of the result lie at one place, instead of their edges; default false. */
    alignCorners: boolean(false),
    /** Whether a smaller result is made of all elements that it covers, by filters as wide; default false. */
    antialias: boolean(false),
    /** Whether channels come before the spatial axes, [b, c, ...space]; default false. */
    channelsFirst: boolean(false),
  },
  results: { out: f32('b ...space c', { fresh: true }) },
  run({ x, size, mode, alignCorners, antialias, channelsFirst }, { signal, onProgress }) {
    const { space, channel } = layoutOf(channelsFirst, x.rank);
    const extents = spread('size', size, space.length);
    checkOptions(mode, alignCorners, antialias);
    checkSize('resize', shapeOf(channelsFirst, x.shape[0] as number, extents, x.shape[channel] as number));
    return x.runtime.scope(() =>
      space.reduce<Tensor<'f32'>>(
        (y, axis, at) => {
          const [from, to] = [x.shape[axis] as number, extents[at] as number];
          return weighed(y, axis, resizeTaps(from, to, { mode, alignCorners, antialias }), { signal, onProgress });
        },
        x as Tensor<'f32'>,
      ),
    );
  },
});

function checkOptions(mode: ResizeMode, alignCorners: boolean, antialias: boolean): void {
  const isSmooth = mode === 'bilinear' || mode === 'bicubic';
  if (alignCorners && (!isSmooth || antialias))
    throw new ParameterError(
      `alignCorners must be false of mode ${mode}${antialias ? ' with antialias' : ''}, got true`,
    );
  if (antialias && !isSmooth) throw new ParameterError(`antialias must be false of mode ${mode}, got true`);
}

export interface ResizeOptions extends Needing<OptionsOf<typeof resizeOp>, 'size'>, Omit<ResultOptions, 'out'> {}

/**
 * x of another size, as PyTorch's `interpolate` computes it: x [b, ...space, c] with one to three spatial axes, or [b, c, ...space],
 * f32 of any strides -> `size` elements along each, contiguous. A cubic is that of -0.75, with antialias of -0.5.
 *
 * @throws {ShapeError} a rank that does not fit, results of 2^31 elements or more
 * @throws {ParameterError} options that are unknown, out of range or not of this mode
 */
export const resize = (x: Tensor, options: ResizeOptions): Tensor<'f32'> => resizeOp({ x }, options);
