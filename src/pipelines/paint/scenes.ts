/** Scenes of two to four garments, each in a quarter of the picture, with words that say which. */
import { ParameterError } from '../../errors';
import { uniformGenerator } from '../../tensor/random';
import { printable } from '../../text/printable';
import type { LabelledPictures } from '../../train/pictures';
import { isWord, promptOf } from './prompts';

/** Pixels of a scene's side, and of that of a quarter. */
export const SIDE = 64;
const QUARTER = SIDE / 2;
const QUARTERS = 4;

export interface Wardrobe {
  /** [count, rows, columns, 1] of at most a quarter's extent, on black. */
  readonly pictures: LabelledPictures;
  /** A word for each class. */
  readonly words: readonly string[];
}

/**
 * Pictures of classes by names, of which the last word in small letters is taken.
 *
 * @throws {ParameterError} pictures larger than a quarter, in colour, or whose words are none or alike
 */
export function wardrobeOf(pictures: LabelledPictures, names: readonly string[]): Wardrobe {
  const [, rows, columns, channels] = pictures.shape;
  if (channels !== 1 || rows > QUARTER || columns > QUARTER)
    throw new ParameterError(
      `pictures must be grey, of at most ${QUARTER} x ${QUARTER} pixels, got ${rows} x ${columns} of ${channels} colours`,
    );
  const words = names.map((name) => name.trim().toLowerCase().split(/\s+/).at(-1) as string);
  const wrong = words.find((word, at) => !isWord(word) || words.indexOf(word) < at);
  if (wrong !== undefined || words.length < 2)
    throw new ParameterError(
      `classes must be two at least, each with another last word of its name, got ${names.map((name) => `'${printable(name)}'`).join(', ')}`,
    );
  const label = pictures.labels.find((label) => label >= words.length);
  if (label !== undefined) throw new ParameterError(`classes must have ${label + 1} names, got ${words.length}`);
  return { pictures, words };
}

export interface Scenes {
  /** [count, 64, 64, 1], from 0 to 1. */
  readonly x: Float32Array;
  /** The classes in each, in the order of its prompt. */
  readonly classes: readonly (readonly number[])[];
  readonly prompts: readonly string[];
}

/** `count` scenes that depend on the wardrobe, the seed and the number of the first alone; classes in one differ. */
export function scenes({ pictures, words }: Wardrobe, count: number, seed: number, first = 0): Scenes {
  const [, rows, columns] = pictures.shape;
  const ofClass = placesByClass(pictures, words.length);
  const x = new Float32Array(count * SIDE * SIDE);
  const classes = Array.from({ length: count }, (_, at) => {
    const random = uniformGenerator(seed + 2 ** 20 * (first + at + 1));
    const most = Math.min(QUARTERS, words.length);
    const garments = 2 + Math.floor(random() * (most - 1));
    const chosen = shuffled(words.length, random).slice(0, garments);
    const quarters = shuffled(QUARTERS, random);
    for (const [place, label] of chosen.entries()) {
      const quarter = quarters[place] as number;
      const own = ofClass[label] as number[];
      const from = own[Math.floor(random() * own.length)] as number;
      const top = QUARTER * Math.floor(quarter / 2) + Math.floor(random() * (QUARTER - rows + 1));
      const left = QUARTER * (quarter % 2) + Math.floor(random() * (QUARTER - columns + 1));
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++)
          x[(at * SIDE + top + row) * SIDE + left + column] =
            (pictures.pixels[(from * rows + row) * columns + column] as number) / 255;
    }
    return chosen;
  });
  return { x, classes, prompts: classes.map((each) => promptOf(each.map((label) => words[label] as string))) };
}

function placesByClass({ labels }: LabelledPictures, classes: number): number[][] {
  const places: number[][] = Array.from({ length: classes }, () => []);
  for (const [at, label] of labels.entries()) places[label]?.push(at);
  return places;
}

function shuffled(count: number, random: () => number): number[] {
  const all = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other] as number, all[at] as number];
  }
  return all;
}
