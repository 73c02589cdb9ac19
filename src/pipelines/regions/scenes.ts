/** Pictures of four by four garments in colours, with questions about them, made by a seed. */
import type { Picture } from '../../pictures';
import { uniformGenerator } from '../../tensor/random';
import { IGNORED } from '../../train';
import type { LabelledPictures } from '../../train/pictures';
import type { ViewerConfig } from './viewer';
import { cropped, type PlaceBox, type SourceBox, toSource, viewOf } from './views';
import { ANSWERS, CELLS, COLOURS, KINDS, tokensOf } from './words';

const TINTS: Readonly<Record<(typeof COLOURS)[number], readonly [number, number, number]>> = {
  red: [1, 0.25, 0.25],
  green: [0.25, 1, 0.3],
  blue: [0.3, 0.45, 1],
  yellow: [1, 0.9, 0.2],
};
/** Garments that no question asks for. */
const OTHERS = ANSWERS.flatMap((_, label) => (Object.values(KINDS).flat().includes(label) ? [] : [label]));
/** The share of scenes with one garment of each kind, which is asked for without a colour too. */
const SINGLE = 0.35;

interface SceneQuestion {
  readonly words: readonly number[];
  readonly answer: number;
  /** Where the garment is that it asks for. */
  readonly cell: number;
}

export interface Scene {
  readonly picture: Picture;
  /** Along both axes. */
  readonly cells: number;
  /** The garment in each cell. */
  readonly garments: readonly number[];
  readonly questions: readonly SceneQuestion[];
}

/** The places of a cell in a view. */
export function boxOfCell(cell: number, side: number, cells: number): PlaceBox {
  const size = side / cells;
  const [x, y] = [(cell % cells) * size, Math.floor(cell / cells) * size];
  return [x, y, x + size, y + size];
}

/** Draws scenes of pictures of one grey channel, with labels as Fashion-MNIST has them. */
export function sceneMaker({ shape: [, rows, columns], pixels, labels }: LabelledPictures) {
  const byClass = ANSWERS.map((_, label) => [...labels.keys()].filter((at) => labels[at] === label));
  return (seed: number, count = CELLS): Scene => {
    const random = uniformGenerator(seed);
    const below = (count: number) => Math.floor(count * random());
    const among = <T>(some: readonly T[]) => some[below(some.length)] as T;
    const isSingle = random() < SINGLE;
    const all = Object.keys(KINDS).flatMap((kind) =>
      (isSingle ? [among(COLOURS)] : COLOURS).map((colour) => ({
        kind,
        colour,
        label: among(KINDS[kind] as number[]),
      })),
    );
    const asked = shuffled(all, below).slice(0, count ** 2);
    const cells = shuffled(
      Array.from({ length: count ** 2 }, (_, cell) => cell),
      below,
    );
    const rgb = new Float32Array(3 * count ** 2 * rows * columns);
    const draw = (cell: number, label: number, colour: (typeof COLOURS)[number]) => {
      const from = rows * columns * among(byClass[label] as number[]);
      const corner = Math.floor(cell / count) * rows * count * columns + (cell % count) * columns;
      for (let at = 0; at < rows * columns; at++) {
        const to = corner + Math.floor(at / columns) * count * columns + (at % columns);
        for (let c = 0; c < 3; c++)
          rgb[3 * to + c] = ((TINTS[colour][c] as number) * (pixels[from + at] as number)) / 255;
      }
    };
    const garments: number[] = [];
    cells.forEach((cell, at) => {
      const { label, colour } = asked[at] ?? { label: among(OTHERS), colour: among(COLOURS) };
      garments[cell] = label;
      draw(cell, label, colour);
    });
    const questions = asked.flatMap(({ kind, colour, label }, at) =>
      (isSingle ? [colour, undefined] : [colour]).map((word) => ({
        words: tokensOf(kind, word),
        answer: label,
        cell: cells[at] as number,
      })),
    );
    return { picture: { width: count * columns, height: count * rows, rgb }, cells: count, garments, questions };
  };
}

/** In another order (Fisher and Yates). */
function shuffled<T>(values: readonly T[], below: (count: number) => number): T[] {
  const order = [...values];
  for (let at = order.length - 1; at > 0; at--) {
    const other = below(at + 1);
    [order[at], order[other]] = [order[other] as T, order[at] as T];
  }
  return order;
}

export interface SceneBatch {
  /** Views of the whole pictures, and of a box in each: [b, 2 side, 2 side, 3], with the places of the latter that count. */
  readonly first: Float32Array;
  readonly second?: { readonly pixels: Float32Array; readonly kept: readonly number[] } | undefined;
  /** Tokens of the questions [b, 3 s], their answers [b, s] and the garment at each place of the first view [b, side²], or `IGNORED`. */
  readonly words: Int32Array;
  readonly answers: Int32Array;
  readonly names: Int32Array;
}

/** Questions of a picture in a batch. */
export const ASKED = 8;
/** The most places by which a second view in training goes past the cell that it is of. */
const MARGIN = 2;

/** Some scenes; with a second view it is of a box about what a question asks for, perhaps with a part missing. */
export function sceneBatch(
  scenes: readonly Scene[],
  config: ViewerConfig,
  seed: number,
  hasSecond: boolean,
): SceneBatch {
  const { side } = config;
  const random = uniformGenerator(seed);
  const below = (count: number) => Math.floor(count * random());
  const size = 3 * (2 * side) ** 2;
  const first = new Float32Array(scenes.length * size);
  const pixels = new Float32Array(hasSecond ? first.length : 0);
  const answers = new Int32Array(scenes.length * ASKED).fill(IGNORED);
  const words: number[] = [];
  const names: number[] = [];
  scenes.forEach(({ picture, cells, garments, questions }, row) => {
    first.set(viewOf(picture, config), row * size);
    const about = questions[below(questions.length)] as SceneQuestion;
    const box = hasSecond ? boxAbout(boxOfCell(about.cell, side, cells), side, below) : undefined;
    if (box) pixels.set(viewOf(cropped(picture, toSource(box, picture, side) as SourceBox), config), row * size);
    const other = below(questions.length);
    for (let at = 0; at < ASKED; at++) {
      const { words: own, answer, cell } = questions[at % questions.length] as SceneQuestion;
      words.push(...own);
      const counts = !box || at === other || isWithin(boxOfCell(cell, side, cells), box);
      if (at < questions.length && counts) answers[row * ASKED + at] = answer;
    }
    for (let place = 0; place < side ** 2; place++) {
      const [x, y] = [place % side, Math.floor(place / side)].map((at) => Math.floor((at * cells) / side));
      names.push(garments[(y as number) * cells + (x as number)] as number);
    }
  });
  const second = hasSecond ? { pixels, kept: withoutPart(side, below, random() < 0.5) } : undefined;
  return { first, second, words: Int32Array.from(words), answers, names: Int32Array.from(names) };
}

/** A box and some places more on each side. */
function boxAbout([x0, y0, x1, y1]: PlaceBox, side: number, below: (count: number) => number): PlaceBox {
  const more = () => below(MARGIN + 1);
  return [Math.max(0, x0 - more()), Math.max(0, y0 - more()), Math.min(side, x1 + more()), Math.min(side, y1 + more())];
}

/** All places, or those outside a box of a quarter to half of both sides. */
function withoutPart(side: number, below: (count: number) => number, isWhole: boolean): number[] {
  const length = () => Math.ceil(side / 4) + below(Math.ceil(side / 4));
  const [width, height] = [length(), length()];
  const [x0, y0] = [below(side - width), below(side - height)];
  return Array.from({ length: side ** 2 }, (_, place) => place).filter((place) => {
    const [x, y] = [(place % side) - x0, Math.floor(place / side) - y0];
    return isWhole || x < 0 || x >= width || y < 0 || y >= height;
  });
}

const isWithin = (inner: PlaceBox, outer: PlaceBox) =>
  inner[0] >= outer[0] && inner[1] >= outer[1] && inner[2] <= outer[2] && inner[3] <= outer[3];
