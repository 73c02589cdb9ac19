/** What networks are given of a picture: resized, cropped and normalised as they were trained. */
import { checkChoice, checkKnown, checkNumber, checkNumbers, checkWhole, show } from '../check';
import { ParameterError } from '../errors';
import { type HostTensor, hostTensor } from '../tensor/host';
import type { Picture } from './picture';
import { INTERPOLATIONS, type Interpolation, resized } from './resize';

/** How a network takes pictures, as timm's configurations say it. */
export interface PictureSettings {
  /** Rows and columns of what it takes, cut from the middle; without it the whole picture is taken. */
  readonly size?: number | undefined;
  /** The share of the shorter side that `size` is, once the picture is scaled down; default 1. */
  readonly crop?: number | undefined;
  /** Rows and columns of a whole picture are made multiples of it; default 1. */
  readonly multipleOf?: number | undefined;
  readonly interpolation: Interpolation;
  /** Subtracted from colours from 0 to 1, and what they are divided by then; one number each makes a grey picture. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Those of ImageNet's photographs. */
export const IMAGENET_COLOURS = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** The part of a picture that a network sees, as large as it takes it. */
export function framed(picture: Picture, { size, crop = 1, multipleOf = 1, interpolation }: PictureSettings): Picture {
  const { width, height } = picture;
  if (size === undefined) {
    const [w, h] = [width, height].map((extent) => Math.max(1, Math.floor(extent / multipleOf)) * multipleOf);
    return resized(picture, w as number, h as number, interpolation);
  }
  const shorter = Math.floor(size / crop);
  const scaled = (extent: number, other: number) =>
    extent <= other ? shorter : Math.floor((shorter * extent) / other);
  return cut(resized(picture, scaled(width, height), scaled(height, width), interpolation), size);
}

/** The square in the middle; halves of a pixel are rounded to even ones, as in Python. */
function cut({ width, height, rgb }: Picture, size: number): Picture {
  const [left, top] = [toEven((width - size) / 2), toEven((height - size) / 2)];
  const out = new Float32Array(3 * size * size);
  for (let y = 0; y < size; y++) {
    const from = 3 * ((top + y) * width + left);
    out.set(rgb.subarray(from, from + 3 * size), 3 * y * size);
  }
  return { width: size, height: size, rgb: out };
}

const toEven = (value: number) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

/** Red, green and blue of a grey (ITU-R BT.601). */
const GREY = [0.299, 0.587, 0.114] as const;

/** x [1, channels, height, width] of a picture as it is. */
export function normalized({ width, height, rgb }: Picture, { mean, std }: PictureSettings): HostTensor<'f32'> {
  const channels = mean.length;
  const pixels = width * height;
  const x = new Float32Array(channels * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const at = (c: number) => rgb[3 * pixel + c] as number;
    const colour = channels === 1 ? [GREY.reduce((sum, share, c) => sum + share * at(c), 0)] : [at(0), at(1), at(2)];
    colour.forEach((value, c) => {
      x[c * pixels + pixel] = (value - (mean[c] as number)) / (std[c] as number);
    });
  }
  return hostTensor(x, [1, channels, height, width], 'f32');
}

/**
 * x [1, channels, rows, columns] of a picture: the part that a network sees, resized as PIL does it, and normalised.
 *
 * @param settings those of a model, `van.create({}).pictures`, or others
 * @throws {ParameterError} a picture or settings that are none, as a model has that takes no pictures
 */
export function preprocess(picture: Picture, settings: PictureSettings | undefined): HostTensor<'f32'> {
  checkPicture(picture);
  const known = settings as PictureSettings;
  checkSettings(known);
  return normalized(framed(picture, known), known);
}

/** @throws {ParameterError} anything but a picture */
export function checkPicture(picture: Picture): void {
  checkKnown('picture', picture, ['width', 'height', 'rgb'], (name) => `picture has no '${name}'`);
  const { width, height, rgb } = picture;
  checkWhole('width of picture', width, 1);
  checkWhole('height of picture', height, 1);
  const needed = 3 * width * height;
  if (!(rgb instanceof Float32Array) || rgb.length !== needed)
    throw new ParameterError(
      `rgb of picture must be a Float32Array of 3 width height = ${needed} numbers, got ${show(rgb)}`,
    );
}

const SETTINGS = ['size', 'crop', 'multipleOf', 'interpolation', 'mean', 'std'];

function checkSettings(settings: PictureSettings): void {
  checkKnown('settings', settings, SETTINGS, (name) => `settings have no '${name}'`);
  const { size, crop = 1, multipleOf = 1, interpolation, mean, std } = settings;
  if (size !== undefined) checkWhole('size', size, 1);
  checkWhole('multipleOf', multipleOf, 1);
  checkNumber('crop', crop, 'above 0 and at most 1', (value) => value > 0 && value <= 1);
  if (interpolation === undefined)
    throw new ParameterError(`interpolation must be one of ${INTERPOLATIONS.join(', ')}`);
  checkChoice('interpolation', interpolation, INTERPOLATIONS);
  checkNumbers('mean', mean, 'finite', Number.isFinite);
  checkNumbers('std', std, 'finite and not 0', (value) => Number.isFinite(value) && value !== 0);
  if (![1, 3].includes(mean.length) || std.length !== mean.length)
    throw new ParameterError(`mean and std must be 1 or 3 numbers each, got ${mean.length} and ${std.length}`);
}
