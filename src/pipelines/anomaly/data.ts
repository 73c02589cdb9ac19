/** Clouds of classes to learn from, which have no defects, and others to test with. */
import { ParameterError } from '../../errors';
import { normal } from '../../tensor/random';
import { DEFECTS, withDefect } from '../clouds/defects';
import type { Geometry } from '../clouds/geometry';
import { pointsAt, sampleMesh, someOf } from '../clouds/sample';
import { type ShapeName, shapeMesh } from '../clouds/shapes';

export interface CloudSample {
  readonly name: string;
  /** [n, 3]. */
  readonly points: Float32Array;
  /** Which points are of a defect: [n]; undefined where that is not known. */
  readonly labels?: Uint8Array | undefined;
  /** Its kind, such as `dent`; undefined of one without. */
  readonly defect?: string | undefined;
}

export interface CloudClass {
  readonly name: string;
  readonly learned: readonly CloudSample[];
  readonly unseen: readonly CloudSample[];
}

export interface ShapeDataOptions {
  /** Points of a cloud. */
  readonly points: number;
  /** Clouds of a class to learn from, and to test with of each kind, without a defect as many as with them all. */
  readonly learned: number;
  readonly unseen: number;
  readonly seed: number;
}

/** Standard deviation of the noise of a scan, over the extent of a shape. */
const NOISE = 0.004;

/** Clouds of a shape, each of other measures, or of a mesh, always the same: with noise, and for tests with defects. */
export function madeClass(name: string, shape: ShapeName | Geometry, options: ShapeDataOptions): CloudClass {
  const { points, learned, unseen, seed } = options;
  let number = 0;
  const made = (defect?: (typeof DEFECTS)[number]): CloudSample => {
    const own = seed + 1000 * number++;
    const mesh = typeof shape === 'string' ? shapeMesh(shape, own) : shape;
    // A hole takes points away.
    const surface = sampleMesh(mesh, defect ? 2 * points : points, own + 1);
    const whole = { points: surface.points, labels: new Uint8Array(points) };
    const marked = defect ? withDefect(surface, defect, own + 2) : whole;
    const chosen = someOf(marked.points.length / 3, points, own + 3);
    const size = extentOf(mesh.points);
    const noise = normal(3 * points, own + 4);
    return {
      name: `${name}-${String(number).padStart(3, '0')}`,
      points: pointsAt(marked.points, chosen).map((value, at) => value + NOISE * size * (noise[at] as number)),
      labels: Uint8Array.from(chosen, (at) => marked.labels[at] as number),
      defect,
    };
  };
  return {
    name,
    learned: Array.from({ length: learned }, () => made()),
    unseen: [
      ...Array.from({ length: unseen * DEFECTS.length }, () => made()),
      ...DEFECTS.flatMap((defect) => Array.from({ length: unseen }, () => made(defect))),
    ],
  };
}

/** Half the longest side of the box around points. */
function extentOf(points: Float32Array): number {
  const [low, high] = [[0, 1, 2].map(() => Infinity), [0, 1, 2].map(() => -Infinity)] as [number[], number[]];
  for (let at = 0; at < points.length; at++) {
    low[at % 3] = Math.min(low[at % 3] as number, points[at] as number);
    high[at % 3] = Math.max(high[at % 3] as number, points[at] as number);
  }
  return Math.max(...low.map((value, axis) => (high[axis] as number) - value)) / 2;
}

/**
 * Classes in tasks: so many tasks, as even as they can be, or by names, such as `ball,egg;box`.
 *
 * @throws {ParameterError} more tasks than classes; a class that is unknown, or named twice
 */
export function tasksOfClasses(names: readonly string[], order: number | readonly (readonly string[])[]): string[][] {
  if (typeof order !== 'number') {
    const all = order.flat();
    const unknown = all.find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw new ParameterError(`tasks must be of the classes ${names.join(', ')}, got '${unknown}'`);
    const twice = all.find((name, at) => all.indexOf(name) !== at);
    if (twice !== undefined) throw new ParameterError(`tasks must have each class once, got '${twice}' twice`);
    const empty = order.findIndex((task) => task.length === 0);
    if (order.length === 0 || empty >= 0)
      throw new ParameterError(`tasks must have classes, got none in task ${Math.max(empty, 0) + 1}`);
    return order.map((task) => [...task]);
  }
  if (order > names.length) throw new ParameterError(`tasks must be at most the ${names.length} classes, got ${order}`);
  const ends = Array.from({ length: order + 1 }, (_, task) => Math.round((task * names.length) / order));
  return Array.from({ length: order }, (_, task) => names.slice(ends[task], ends[task + 1]));
}
