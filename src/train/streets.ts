/** Drawn streets with the class of each place, made by a seed: a small stand-in for pictures of real ones. */
import { uniformGenerator } from '../tensor/random';
import type { LabelledPictures } from './pictures';
import { below, type Random } from './tasks/task';

export const STREET_CLASSES = ['sky', 'building', 'road', 'sidewalk', 'tree', 'car', 'person'] as const;
type StreetClass = (typeof STREET_CLASSES)[number];
type Colour = readonly [red: number, green: number, blue: number];

export interface StreetsOptions {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  readonly seed: number;
}

/** A picture that is being drawn, and the numbers that it is drawn by. */
interface Canvas {
  readonly rows: number;
  readonly columns: number;
  readonly pixels: Uint8Array;
  readonly labels: Int32Array;
  readonly random: Random;
  /** How bright the day is. */
  readonly light: number;
}

/** Levels of a byte, about. */
const NOISE = 24;

/** Where the street lies: the row of the horizon, the column that it leads to, and half its width at the lower edge. */
interface Scene {
  readonly horizon: number;
  readonly centre: number;
  readonly half: number;
}

/**
 * Streets that lead to a point on the horizon, between sidewalks and buildings, with trees, cars and people that are smaller the
 * further away they are. Colours vary, so that of many classes only shape and place tell.
 */
export function streets({ count, rows, columns, seed }: StreetsOptions): LabelledPictures {
  const area = rows * columns;
  const [pixels, labels] = [new Uint8Array(count * area * 3), new Int32Array(count * area)];
  for (let at = 0; at < count; at++) {
    const random = uniformGenerator(seed + 2 ** 33 * (at + 1));
    const own = {
      pixels: pixels.subarray(at * area * 3, (at + 1) * area * 3),
      labels: labels.subarray(at * area, (at + 1) * area),
    };
    drawStreet({ rows, columns, ...own, random, light: between(0.6, 1.1, random) });
  }
  return { shape: [count, rows, columns, 3], pixels, labels };
}

const between = (low: number, high: number, random: Random) => low + (high - low) * random();
const anyColour = (random: Random): Colour => [random(), random(), random()];
const grey = (low: number, high: number, random: Random): Colour => {
  const value = between(low, high, random);
  return [value, value * between(0.95, 1.05, random), value * between(0.95, 1.05, random)];
};

function drawStreet(canvas: Canvas): void {
  const { rows, columns, random } = canvas;
  const scene = {
    horizon: Math.round(between(0.3, 0.5, random) * rows),
    centre: between(0.35, 0.65, random) * columns,
    half: between(0.25, 0.4, random) * columns,
  };
  fill(
    canvas,
    'sky',
    [between(0.4, 0.8, random), between(0.6, 0.9, random), between(0.7, 1, random)],
    box(0, 0, rows, columns),
  );
  drawBuildings(canvas, scene);
  const ground = box(scene.horizon, 0, rows, columns);
  const isInside = (row: number, column: number) =>
    Math.abs(column + 0.5 - scene.centre) < scene.half * depthOf(row, scene, rows);
  fill(canvas, 'sidewalk', grey(0.45, 0.75, random), ground);
  fill(canvas, 'road', grey(0.2, 0.5, random), { ...ground, isInside });
  // What is further away is drawn first.
  const things = Array.from({ length: 3 + below(6, random) }, () => ({
    row: Math.round(scene.horizon + (rows - scene.horizon) * between(0.15, 0.95, random)),
    draw: [drawCar, drawPerson, drawTree][below(3, random)] as typeof drawCar,
  })).sort((a, b) => a.row - b.row);
  for (const { row, draw } of things) draw(canvas, scene, row);
  const { pixels } = canvas;
  for (let at = 0; at < pixels.length; at++) pixels[at] = (pixels[at] as number) + NOISE * (random() - 0.5);
}

/** From 0 at the horizon to 1 at the lower edge. */
const depthOf = (row: number, { horizon }: Scene, rows: number) => (row + 1 - horizon) / (rows - horizon);

/** A part of the picture: a box, in pixels, and which places of it belong to the part; default: all. */
interface Part {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
  readonly isInside?: (row: number, column: number) => boolean;
}

function fill({ rows, columns, pixels, labels, light }: Canvas, name: StreetClass, colour: Colour, part: Part): void {
  const label = STREET_CLASSES.indexOf(name);
  // Room for the noise at both ends.
  const bytes = colour.map((value) => 12 + 230 * Math.min(1, light * value));
  const { top, left, height, width, isInside } = part;
  for (let row = Math.max(0, Math.ceil(top)); row < Math.min(rows, top + height); row++)
    for (let column = Math.max(0, Math.ceil(left)); column < Math.min(columns, left + width); column++) {
      if (isInside && !isInside(row, column)) continue;
      const at = row * columns + column;
      labels[at] = label;
      pixels.set(bytes, 3 * at);
    }
}

const box = (top: number, left: number, height: number, width: number): Part => ({ top, left, height, width });

const disc = (middle: number, across: number, high: number, wide: number): Part => ({
  ...box(middle - high, across - wide, 2 * high + 1, 2 * wide + 1),
  isInside: (row, column) => ((row - middle) / high) ** 2 + ((column - across) / wide) ** 2 <= 1,
});

/** Walls side by side, some with rows of windows, and gaps through which the sky is seen. */
function drawBuildings(canvas: Canvas, { horizon }: Scene): void {
  const { columns, random } = canvas;
  for (let left = -below(8, random); left < columns; ) {
    const width = 8 + below(columns / 6, random);
    const top = Math.round(horizon * between(0.1, 0.8, random));
    if (random() < 0.85) {
      const wall = anyColour(random);
      fill(canvas, 'building', wall, box(top, left, horizon + 2 - top, width));
      const shade = wall.map((value) => value * between(0.4, 0.7, random)) as unknown as Colour;
      const step = 3 + below(3, random);
      const isInside = (row: number, column: number) => (row - top) % step === 1 && (column - left) % step === 1;
      fill(canvas, 'building', shade, { ...box(top, left, horizon + 1 - top, width), isInside });
    }
    left += width;
  }
}

function drawCar(canvas: Canvas, scene: Scene, row: number): void {
  const { rows, random } = canvas;
  const depth = depthOf(row, scene, rows);
  const [width, height] = [Math.max(3, 30 * depth), Math.max(2, 14 * depth)];
  const middle = scene.centre + between(-0.7, 0.7, random) * scene.half * depth;
  const [left, top] = [middle - width / 2, row - height];
  fill(canvas, 'car', anyColour(random), box(top + height * 0.4, left, height * 0.5, width));
  fill(canvas, 'car', grey(0.1, 0.9, random), box(top, left + width * 0.2, height * 0.4, width * 0.6));
  for (const side of [0.2, 0.8])
    fill(canvas, 'car', [0.05, 0.05, 0.05], disc(row - height * 0.1, left + width * side, height * 0.2, height * 0.2));
}

/** A column at this depth, so many half widths of the road from its middle on either side. */
function besideRoad({ random }: Canvas, { centre, half }: Scene, depth: number, least: number): number {
  const side = random() < 0.5 ? -1 : 1;
  return centre + side * half * depth * between(least, 1.8, random);
}

function drawPerson(canvas: Canvas, scene: Scene, row: number): void {
  const { rows, random } = canvas;
  const depth = depthOf(row, scene, rows);
  const [height, width] = [Math.max(3, 20 * depth), Math.max(1, 5 * depth)];
  const middle = besideRoad(canvas, scene, depth, 0.4);
  fill(canvas, 'person', anyColour(random), box(row - height * 0.45, middle - width * 0.4, height * 0.45, width * 0.8));
  fill(canvas, 'person', anyColour(random), box(row - height * 0.8, middle - width / 2, height * 0.4, width));
  fill(canvas, 'person', [0.8, 0.6, 0.5], disc(row - height * 0.88, middle, height * 0.13, width * 0.4));
}

function drawTree(canvas: Canvas, scene: Scene, row: number): void {
  const { rows, random } = canvas;
  const depth = depthOf(row, scene, rows);
  const height = Math.max(5, 44 * depth);
  const middle = besideRoad(canvas, scene, depth, 1.1);
  const green: Colour = [between(0.1, 0.4, random), between(0.35, 0.7, random), between(0.05, 0.3, random)];
  fill(
    canvas,
    'tree',
    [0.35, 0.25, 0.15],
    box(row - height * 0.5, middle - height * 0.04, height * 0.5, height * 0.08),
  );
  fill(canvas, 'tree', green, disc(row - height * 0.7, middle, height * 0.3, height * between(0.18, 0.3, random)));
}
