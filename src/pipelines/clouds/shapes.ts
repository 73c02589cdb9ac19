/** Fourteen shapes of a few numbers each, which a seed varies: stand-ins for scans of objects. */
import { uniformGenerator } from '../../tensor/random';
import type { Geometry } from './geometry';

type Point = readonly [number, number, number];
/** A radius and a height. */
type Corner = readonly [radius: number, height: number];
/** Numbers from 0.95 to 1.05. */
type About = () => number;

/** How many corners go around, and along a tube. */
const [AROUND, ALONG] = [64, 160];
const VARIED = 0.05;

const steps = (count: number) => Array.from({ length: count + 1 }, (_, at) => at / count);
/** A half circle from below to above. */
const half = (radius: number, stretch = 1): Corner[] =>
  steps(24).map((t) => [radius * Math.sin(Math.PI * t), -stretch * radius * Math.cos(Math.PI * t)]);

/** A profile, from below to above, turned around the upright axis; `section` makes it another figure than a circle. */
function lathe(profile: readonly Corner[], section: (angle: number) => number = () => 1): Geometry {
  return grid(profile.length, AROUND + 1, (row, column) => {
    const [radius, height] = profile[row] as Corner;
    const angle = (2 * Math.PI * column) / AROUND;
    const size = radius * section(angle);
    return [size * Math.cos(angle), size * Math.sin(angle), height];
  });
}

/** A tube along a curve of t from 0 to 1. */
function tube(curve: (t: number) => Point, radius: number): Geometry {
  return grid(ALONG + 1, 25, (row, column) => {
    const t = row / ALONG;
    const [here, ahead] = [curve(t), curve(t + 1e-3)];
    const forward = unit([ahead[0] - here[0], ahead[1] - here[1], ahead[2] - here[2]]);
    const side = unit(cross(forward, Math.abs(forward[2]) < 0.9 ? [0, 0, 1] : [1, 0, 0]));
    const up = cross(forward, side);
    const angle = (2 * Math.PI * column) / 24;
    const at = (axis: number) =>
      (here[axis] as number) +
      radius * (Math.cos(angle) * (side[axis] as number) + Math.sin(angle) * (up[axis] as number));
    return [at(0), at(1), at(2)];
  });
}

/** Corners in rows and columns, with two triangles between each four. */
function grid(rows: number, columns: number, place: (row: number, column: number) => Point): Geometry {
  const points = new Float32Array(3 * rows * columns);
  const faces: number[] = [];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const at = row * columns + column;
      points.set(place(row, column), 3 * at);
      if (row + 1 < rows && column + 1 < columns)
        faces.push(at, at + 1, at + columns, at + 1, at + columns + 1, at + columns);
    }
  return { points, faces: Uint32Array.from(faces) };
}

const cross = ([a, b, c]: Point, [x, y, z]: Point): Point => [b * z - c * y, c * x - a * z, a * y - b * x];
function unit([x, y, z]: Point): Point {
  const size = Math.hypot(x, y, z);
  return [x / size, y / size, z / size];
}

const square = (angle: number) => 1 / Math.max(Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle)));
/** A profile with a floor and a lid. */
const closed = (...corners: Corner[]): Corner[] => [
  [0, (corners[0] as Corner)[1]],
  ...corners,
  [0, (corners.at(-1) as Corner)[1]],
];

const MAKERS = {
  ball: (about) => lathe(half(about())),
  egg: (about) => lathe(half(0.7 * about(), 1.6 * about())),
  box: (about) => lathe(closed([0.8 * about(), -0.6], [0.8, 0.6 * about()]), square),
  cylinder: (about) => lathe(closed([0.6 * about(), -1], [0.6, about()])),
  cone: (about) =>
    lathe([
      [0, -0.8],
      [0.9 * about(), -0.8],
      [0, about()],
    ]),
  capsule: (about) => {
    const [radius, height] = [0.5 * about(), 0.5 * about()];
    return lathe(half(radius).map(([r, z]) => [r, z + (z < 0 ? -height : height)]));
  },
  ring: (about) => {
    const size = about();
    return tube((t) => [size * Math.cos(2 * Math.PI * t), size * Math.sin(2 * Math.PI * t), 0], 0.35 * about());
  },
  bowl: (about) => {
    const [radius, depth] = [about(), 0.9 * about()];
    const wall = (size: number) =>
      steps(16).map(
        (t): Corner => [size * radius * Math.sin((Math.PI / 2) * t), -size * depth * Math.cos((Math.PI / 2) * t)],
      );
    return lathe([...wall(1), ...wall(0.85).reverse()]);
  },
  bottle: (about) => {
    const [body, neck] = [0.55 * about(), 0.2 * about()];
    return lathe(closed([body, -1.1], [body, 0.2], [neck, 0.7 * about()], [neck, 1.2]));
  },
  vase: (about) => {
    const [size, wave] = [0.5 * about(), 0.2 * about()];
    return lathe([
      [0, -1],
      ...steps(24).map((t): Corner => [size + wave * Math.sin(2 * Math.PI * t - 0.4), 2 * t - 1]),
    ]);
  },
  hourglass: (about) => {
    const [waist, flare] = [0.25 * about(), 2 * about()];
    return lathe(closed(...steps(24).map((t): Corner => [waist + flare * (t - 0.5) ** 2, 2 * t - 1])));
  },
  spring: (about) => {
    const [size, height] = [0.7 * about(), about()];
    return tube(
      (t) => [size * Math.cos(6 * Math.PI * t), size * Math.sin(6 * Math.PI * t), height * (2 * t - 1)],
      0.22 * about(),
    );
  },
  star: (about) => {
    const deep = 0.3 * about();
    return lathe(closed([0.8, -0.4 * about()], [0.8, 0.4]), (angle) => 1 + deep * Math.cos(5 * angle));
  },
  knot: (about) => {
    const size = 0.35 * about();
    const at = (t: number): Point => {
      const angle = 2 * Math.PI * t;
      return [
        size * (Math.sin(angle) + 2 * Math.sin(2 * angle)),
        size * (Math.cos(angle) - 2 * Math.cos(2 * angle)),
        -size * 1.5 * Math.sin(3 * angle),
      ];
    };
    return tube(at, 0.2 * about());
  },
} satisfies Readonly<Record<string, (about: About) => Geometry>>;

export type ShapeName = keyof typeof MAKERS;
/** The names of the shapes. */
export const SHAPES = Object.keys(MAKERS) as readonly ShapeName[];

/** A shape of that kind, whose measures differ by up to 5% with the seed: a closed mesh, about 2 in extent. */
export function shapeMesh(name: ShapeName, seed: number): Geometry {
  const random = uniformGenerator(seed);
  return MAKERS[name](() => 1 - VARIED + 2 * VARIED * random());
}
