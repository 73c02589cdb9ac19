/**
 * What is no picture laid out as one, as UniRepLKNet takes it: sound, video, points and series.
 * Source: Ding et al. 2024, arXiv 2311.15599, equations 2 to 5, and the authors' code. The angles of the views of points are
 * reconstructed, as the notes at hand only say that there are four.
 */
import { checkChoice, checkNumbers, checkOptions, checkWhole, show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import { concat, contiguous, pad } from '../../ops/copy';
import { map } from '../../ops/map/map';
import { scatterAdd } from '../../ops/scatter-add';
import { formatShape } from '../../tensor/shape';
import { Tensor } from '../../tensor/tensor';

/** Mean and standard deviation of log-mel features of Speech Commands, of which two are divided by. */
const [SPEECH_MEAN, SPEECH_STD] = [-6.845978, 5.5654526];

/**
 * Log-mel features [b, frames, bins] of sounds -> x [b, 1, bins, frames]: normalised, and cut or filled with zeros to as many frames.
 * The authors' are Kaldi's of 128 bins every 10 ms, by a Hann window, without dither.
 *
 * @param options frames: default 128
 */
export function audioPicture(features: Tensor, options: { readonly frames?: number | undefined } = {}): Tensor<'f32'> {
  checkOptions('audioPicture', options, ['frames']);
  const { frames = 128 } = options;
  checkWhole('frames', frames, 1);
  const [, had, bins] = checkedShape('features', features, ['b', 'frames', 'bins']) as [number, number, number];
  return features.runtime.scope(() => {
    const kept = had > frames ? contiguous((features as Tensor<'f32'>).slice(1, 0, frames)) : features;
    const filled = pad(kept as Tensor<'f32'>, [
      [0, 0],
      [0, Math.max(0, frames - had)],
      [0, 0],
    ]);
    const scaled = map((value, { mean, std }) => (value - mean) / (2 * std), filled, {
      captured: { mean: SPEECH_MEAN, std: SPEECH_STD },
    });
    return contiguous(scaled.permute([0, 2, 1]) as Tensor<'f32'>).reshape([-1, 1, bins, frames]);
  });
}

/**
 * Frames of videos [b, c, frames, rows, columns], a square number of them -> x [b, c, s rows, s columns] for s^2 frames. With the
 * layout `code` (default) numbers stay in their order, as the authors' code has it, so that a row holds s rows of a frame one after the
 * other; with `mosaic` frames lie side by side.
 */
export function videoPicture(
  frames: Tensor,
  options: { readonly layout?: 'code' | 'mosaic' | undefined } = {},
): Tensor<'f32'> {
  checkOptions('videoPicture', options, ['layout']);
  const { layout = 'code' } = options;
  checkChoice('layout', layout, ['code', 'mosaic']);
  const [b, c, count, rows, columns] = checkedShape('frames', frames, ['b', 'c', 'frames', 'rows', 'columns']) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const side = Math.round(Math.sqrt(count));
  if (side ** 2 !== count) throw new ShapeError(`frames must be a square number of frames, got ${count}`);
  const shape = [b, c, side * rows, side * columns];
  return frames.runtime.scope(() => {
    const video = contiguous(frames as Tensor<'f32'>);
    if (layout === 'code') return video.reshape(shape);
    const split = video.reshape([b, c, side, side, rows, columns]);
    return contiguous(split.permute([0, 1, 2, 4, 3, 5])).reshape(shape);
  });
}

/** Embedded series [b, length, width] -> x [b, 1, s, s] for s^2 = length width, in the order in which numbers are. */
export function seriesPicture(series: Tensor): Tensor<'f32'> {
  const [b, length, width] = checkedShape('series', series, ['b', 'length', 'width']) as [number, number, number];
  const side = Math.round(Math.sqrt(length * width));
  if (side ** 2 !== length * width)
    throw new ShapeError(`series must have a square number of elements each, got ${length} x ${width}`);
  return series.runtime.scope(() => contiguous(series as Tensor<'f32'>).reshape([b, 1, side, side]));
}

/** Turns about the axes x and y, in radians: from the front, the side, behind and above. */
const VIEWS: readonly (readonly [number, number])[] = [
  [0, 0],
  [0, Math.PI / 2],
  [0, Math.PI],
  [Math.PI / 2, 0],
];

export interface PointPicturesOptions {
  /** [b, points, c]: what is seen of each point; default: where it is. */
  readonly features?: Tensor | undefined;
  /** Pixels of a picture along both axes; default 224. */
  readonly size?: number | undefined;
}

/**
 * Clouds of points [b, points, 3] from four views -> x [4 b, c, size, size], the views of a cloud one after the other: each point adds
 * its features to the 3 x 3 pixels around it, of a grid on which the larger extent of the view reaches from the second to the last but
 * one. Where points are has no gradient, their features have.
 */
export async function pointPictures(points: Tensor, options: PointPicturesOptions = {}): Promise<Tensor<'f32'>> {
  checkOptions('pointPictures', options, ['features', 'size']);
  const { features = points, size = 224 } = options;
  checkWhole('size', size, 4, 4096);
  const [b, count, axes] = checkedShape('points', points, ['b', 'points', '3']) as [number, number, number];
  if (axes !== 3) throw new ShapeError(`points must have shape [b, points, 3], got ${formatShape(points.shape)}`);
  const [clouds, seen, c] = checkedShape('features', features, ['b', 'points', 'c']) as [number, number, number];
  if (clouds !== b || seen !== count)
    throw new ShapeError(
      `features must have shape [${b}, ${count}, c], as points have, got ${formatShape(features.shape)}`,
    );
  const places = (await points.read()) as Float32Array;
  checkNumbers('points', places, 'finite', Number.isFinite);
  const { runtime } = points;
  return runtime.scope(() => {
    const pictures = Array.from({ length: b * VIEWS.length }, (_, at) => {
      const [cloud, view] = [Math.floor(at / VIEWS.length), at % VIEWS.length];
      const own = places.subarray(3 * count * cloud, 3 * count * (cloud + 1));
      const pixels = splats(own, VIEWS[view] as readonly [number, number], size);
      const values = contiguous((features as Tensor<'f32'>).slice(0, cloud, cloud + 1)).reshape([count, 1, c]);
      const spread = contiguous(values.expand([count, 9, c])).reshape([9 * count, c]);
      const sums = scatterAdd(spread, runtime.tensor(pixels, [9 * count], 'i32'), size ** 2);
      return contiguous(sums.permute([1, 0])).reshape([1, c, size, size]);
    });
    return concat(pictures, 0);
  });
}

/** The pixels of each point, 3 x 3 of a grid. */
function splats(points: Float32Array, [aboutX, aboutY]: readonly [number, number], size: number): Int32Array {
  const count = points.length / 3;
  const [cosX, sinX, cosY, sinY] = [Math.cos(aboutX), Math.sin(aboutX), Math.cos(aboutY), Math.sin(aboutY)];
  const flat = Array.from({ length: count }, (_, at) => {
    const [x, y, z] = points.subarray(3 * at, 3 * at + 3) as unknown as readonly [number, number, number];
    return [cosY * x + sinY * z, cosX * y - sinX * (cosY * z - sinY * x)] as const;
  });
  const ends = [0, 1].map((axis) => {
    const along = flat.map((place) => place[axis] as number);
    return [along.reduce((a, b) => Math.min(a, b)), along.reduce((a, b) => Math.max(a, b))] as const;
  });
  const cell = Math.max(...ends.map(([least, most]) => most - least)) / (size - 3) || 1;
  const pixels = new Int32Array(9 * count);
  for (const [at, place] of flat.entries()) {
    const [column, row] = place.map((value, axis) => {
      const [least, most] = ends[axis] as readonly [number, number];
      return Math.round((value - (least + most) / 2) / cell + (size - 1) / 2 - 1e-6);
    }) as unknown as readonly [number, number];
    for (let near = 0; near < 9; near++) {
      const [down, across] = [Math.floor(near / 3) - 1, (near % 3) - 1];
      pixels[9 * at + near] = clamp(row + down, size) * size + clamp(column + across, size);
    }
  }
  return pixels;
}

const clamp = (place: number, size: number) => Math.min(size - 1, Math.max(0, place));

function checkedShape(what: string, x: Tensor, axes: readonly string[]): readonly number[] {
  if (!(x instanceof Tensor)) throw new ParameterError(`${what} must be a Tensor, got ${show(x)}`);
  if (x.rank === axes.length && x.size > 0) return x.shape;
  throw new ShapeError(`${what} must have shape [${axes.join(', ')}], got ${formatShape(x.shape)}`);
}
