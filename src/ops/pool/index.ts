/** Means and maxima over windows of pictures. */
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Tensor } from '../../tensor/tensor';
import { perAxis, placesOf, spread } from '../conv/axes';
import { layoutOf } from '../conv/views';
import { boolean, choice, defineComposite, f32, type Needing, type OptionsOf, optional } from '../define';
import { largest, type Taps, weighed } from '../resize/along';
import { windowsOf } from '../resize/taps';

const inputs = { x: f32('b ...space c', { strided: true, swappedBy: 'channelsFirst' }) };
const common = {
  /** What is taken of the elements of a window; default mean. */
  kind: choice('mean', 'mean', 'max'),
  /** Whether channels come before the spatial axes, [b, c, ...space]; default false. */
  channelsFirst: boolean(false),
};

/** @internal */
export const poolOp = defineComposite({
  name: 'pool',
  inputs,
  options: {
    ...common,
    /** The extents of a window, for all spatial axes or for each. */
    size: perAxis(1),
    /** Elements between windows; default: as many as a window has. */
    stride: optional(perAxis(1)),
    /** Elements around x, at most half a window: zeros, or none for a maximum; default 0. */
    padding: perAxis(0, 0),
    /** Whether a mean counts the padding; default true. */
    countPadding: boolean(true),
  },
  results: { out: f32('b ...space c', { fresh: true }) },
  run({ x, kind, channelsFirst, size, stride, padding, countPadding }, { signal, onProgress }) {
    const { space } = layoutOf(channelsFirst, x.rank);
    const sizes = spread('size', size, space.length);
    const strides = spread('stride', stride ?? size, space.length);
    const sides = spread('padding', padding, space.length);
    const all = space.map((axis, at) => {
      const [taps, before] = [sizes[at] as number, sides[at] as number];
      const extent = x.shape[axis] as number;
      if (2 * before > taps)
        throw new ParameterError(`padding must be at most half of the window of ${taps} elements, got ${before}`);
      const step = strides[at] as number;
      const window = { extent, taps, stride: step, dilation: 1, before, after: before };
      const count = placesOf(window, 'size of pool', x.shape);
      return { taps, windows: Array.from({ length: count }, (_, i) => within(i * step - before, taps, extent)) };
    });
    const parts = all.map(({ taps, windows }) => ({ windows, count: countPadding ? taps : undefined }));
    return pooled(x, kind, space, parts, { signal, onProgress });
  },
});

/** @internal */
export const adaptivePoolOp = defineComposite({
  name: 'adaptivePool',
  inputs,
  options: {
    ...common,
    /** The extents of the result, for all spatial axes or for each; 1 for one window over all; default 1. */
    size: perAxis(1, 1),
  },
  results: { out: f32('b ...space c', { fresh: true }) },
  run({ x, kind, channelsFirst, size }, { signal, onProgress }) {
    const { space } = layoutOf(channelsFirst, x.rank);
    const sizes = spread('size', size, space.length);
    const parts = space.map((axis, at) => ({ windows: windowsOf(x.shape[axis] as number, sizes[at] as number) }));
    return pooled(x, kind, space, parts, { signal, onProgress });
  },
});

/** The elements of a window that lie within an extent. */
const within = (first: number, taps: number, extent: number): number[] =>
  Array.from({ length: taps }, (_, at) => first + at).filter((place) => place >= 0 && place < extent);

interface Part {
  readonly windows: readonly (readonly number[])[];
  /** What means divide by; default: the elements of the window. */
  readonly count?: number | undefined;
}

/** One axis after another. */
function pooled(x: Tensor, kind: 'mean' | 'max', space: readonly number[], parts: readonly Part[], control: Control) {
  return x.runtime.scope(() =>
    space.reduce<Tensor<'f32'>>(
      (y, axis, at) => {
        const { windows, count } = parts[at] as Part;
        if (kind === 'max') return largest(y, axis, windows, control);
        const taps: Taps = windows.map((window) =>
          window.map((place) => [place, 1 / (count ?? window.length)] as const),
        );
        return weighed(y, axis, taps, control);
      },
      x as Tensor<'f32'>,
    ),
  );
}

export interface PoolOptions extends Needing<OptionsOf<typeof poolOp>, 'size'>, Control {}
export interface AdaptivePoolOptions extends OptionsOf<typeof adaptivePoolOp>, Control {}

/**
 * Means or maxima over windows: x [b, ...space, c] with one to three spatial axes, or [b, c, ...space], f32 of any strides; the
 * result is contiguous. Elements that are equally the largest share the gradient.
 *
 * @throws {ShapeError} a rank that does not fit, windows larger than the padded x
 * @throws {ParameterError} an option that is unknown or out of range
 */
export const pool = (x: Tensor, options: PoolOptions): Tensor<'f32'> => poolOp({ x }, options);

/**
 * Means or maxima over as many windows as wanted, which cover x: result i of n covers the elements from floor(i extent / n) up to
 * ceil((i + 1) extent / n). With size 1, the default, over all of a picture. Otherwise as `pool`.
 */
export const adaptivePool = (x: Tensor, options: AdaptivePoolOptions = {}): Tensor<'f32'> =>
  adaptivePoolOp({ x }, options);
