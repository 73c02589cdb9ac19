/** Batches of labelled pictures: shuffled, moved, mirrored and normalised, and the same whenever they are asked for. */
import { randomPermutation } from '../masks';
import { type HostTensor, hostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';
import { IGNORED } from './tasks';

/** Pictures of one extent, and a class for each of them or for each of its places. */
export interface LabelledPictures {
  readonly shape: readonly [count: number, rows: number, columns: number, channels: number];
  /** Bytes in that shape. */
  readonly pixels: Uint8Array;
  /** [count], or [count, rows, columns]. */
  readonly labels: Int32Array;
}

/** What the pixels of a channel are divided by, once the mean was taken away; of values from 0 to 1. */
export interface Normalisation {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export interface PictureBatch {
  /** [b, channels, rows, columns], normalised. */
  readonly x: HostTensor<'f32'>;
  /** [b], or [b, rows, columns], in which places beyond the picture are `IGNORED`. */
  readonly labels: HostTensor<'i32'>;
}

/** How a picture is changed before it is learned from. */
interface Augmentation {
  /** The most pixels by which it moves along both axes. */
  readonly shift: number;
  /** Whether half of them are mirrored. */
  readonly flip: boolean;
}

export interface PictureBatchesOptions extends Normalisation {
  readonly batch: number;
  readonly seed: number;
  readonly augmentation: Augmentation;
}

/** The place of a picture in a batch, by which its pixels move. */
interface Placing {
  readonly down: number;
  readonly right: number;
  readonly isMirrored: boolean;
}
const AS_IT_IS: Placing = { down: 0, right: 0, isMirrored: false };

/** The batch of a number, from 0: passes over the pictures have an order and changes of their own, which follow from the seed. */
export function pictureBatches(pictures: LabelledPictures, options: PictureBatchesOptions) {
  const { batch, seed, augmentation } = options;
  const [count] = pictures.shape;
  let pass: { readonly number: number; readonly order: Int32Array } | undefined;
  const orderOf = (number: number) => {
    if (pass?.number !== number) pass = { number, order: randomPermutation(count, seed + 2 ** 32 * (number + 1)) };
    return pass.order;
  };
  return (index: number): PictureBatch => {
    const random = uniformGenerator(seed + 2 ** 31 + 2 ** 32 * (index + 1));
    const move = () => Math.floor((2 * augmentation.shift + 1) * random()) - augmentation.shift;
    const chosen = Array.from({ length: batch }, (_, row) => {
      const at = index * batch + row;
      return orderOf(Math.floor(at / count))[at % count] as number;
    });
    const placings = chosen.map(() => ({
      down: move(),
      right: move(),
      isMirrored: random() < 0.5 && augmentation.flip,
    }));
    return batchOf(pictures, chosen, options, placings);
  };
}

/** Some pictures, moved as `placings` say and normalised; grey ones are repeated for as many channels as there are means. */
export function batchOf(
  { shape, pixels, labels }: LabelledPictures,
  chosen: readonly number[],
  { mean, std }: Normalisation,
  placings: readonly Placing[] = [],
): PictureBatch {
  const [count, rows, columns, channels] = shape;
  const area = rows * columns;
  const x = new Float32Array(chosen.length * mean.length * area);
  const isMap = labels.length !== count;
  const found = new Int32Array(chosen.length * (isMap ? area : 1)).fill(IGNORED);
  // What lies beyond the picture is black.
  const levels = mean.map((each, c) =>
    Float32Array.from({ length: 256 }, (_, value) => (value / 255 - each) / (std[c] as number)),
  );
  chosen.forEach((from, row) => {
    const placing = placings[row] ?? AS_IT_IS;
    if (!isMap) found[row] = labels[from] as number;
    for (let c = 0; c < mean.length; c++) {
      const [level, own] = [levels[c] as Float32Array, Math.min(c, channels - 1)];
      const start = (row * mean.length + c) * area;
      x.fill(level[0] as number, start, start + area);
      eachPlace(rows, columns, placing, (to, at) => {
        x[start + to] = level[pixels[(from * area + at) * channels + own] as number] as number;
      });
    }
    if (isMap)
      eachPlace(rows, columns, placing, (to, at) => {
        found[row * area + to] = labels[from * area + at] as number;
      });
  });
  return {
    x: hostTensor(x, [chosen.length, mean.length, rows, columns]),
    labels: hostTensor(found, isMap ? [chosen.length, rows, columns] : [chosen.length]),
  };
}

/** Calls back with each place that a picture covers once it has moved, and with where that was in the picture. */
function eachPlace(
  rows: number,
  columns: number,
  { down, right, isMirrored }: Placing,
  call: (to: number, from: number) => void,
): void {
  for (let row = Math.max(0, down); row < rows + Math.min(0, down); row++)
    for (let column = Math.max(0, right); column < columns + Math.min(0, right); column++) {
      const from = isMirrored ? columns - 1 - (column - right) : column - right;
      call(row * columns + column, (row - down) * columns + from);
    }
}

/** The mean and standard deviation of each channel. */
export function normalisationOf({ shape, pixels }: LabelledPictures): Normalisation {
  const channels = shape[3];
  const [sums, squares] = [new Float64Array(channels), new Float64Array(channels)];
  for (let at = 0; at < pixels.length; at++) {
    const value = (pixels[at] as number) / 255;
    sums[at % channels] = (sums[at % channels] as number) + value;
    squares[at % channels] = (squares[at % channels] as number) + value ** 2;
  }
  const count = pixels.length / channels;
  const mean = Array.from(sums, (sum) => sum / count);
  const std = mean.map((each, c) => Math.sqrt(Math.max((squares[c] as number) / count - each ** 2, 1e-6)));
  return { mean, std };
}

/** One picture in so many, which is not learned from, and the others. */
export function splitPictures(
  pictures: LabelledPictures,
  step: number,
): { readonly learned: LabelledPictures; readonly unseen: LabelledPictures } {
  const numbers = Array.from({ length: pictures.shape[0] }, (_, at) => at);
  const isUnseen = (at: number) => at % step === step - 1;
  return {
    learned: chosenOf(
      pictures,
      numbers.filter((at) => !isUnseen(at)),
    ),
    unseen: chosenOf(pictures, numbers.filter(isUnseen)),
  };
}

function chosenOf({ shape, pixels, labels }: LabelledPictures, chosen: readonly number[]): LabelledPictures {
  const [count, ...extents] = shape;
  const [size, places] = [pixels.length / count, labels.length / count];
  const own = { pixels: new Uint8Array(chosen.length * size), labels: new Int32Array(chosen.length * places) };
  chosen.forEach((from, at) => {
    own.pixels.set(pixels.subarray(from * size, (from + 1) * size), at * size);
    own.labels.set(labels.subarray(from * places, (from + 1) * places), at * places);
  });
  return { shape: [chosen.length, ...extents], ...own };
}
