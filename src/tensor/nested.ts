/** Nested arrays, as matrices are written by hand. */
import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Shape } from './shape';

/** A number, or nested arrays of numbers in which those of one axis have the same length. */
export type NestedNumbers = number | readonly NestedNumbers[];

/** Most axes; arrays that contain themselves have no end. */
const MOST_AXES = 32;

/**
 * The numbers in row-major order, and their shape.
 * @throws {ShapeError} if arrays of one axis differ in length, or there are too many axes
 * @throws {ParameterError} for elements that are not numbers
 */
export function flattened(nested: NestedNumbers): { readonly numbers: number[]; readonly shape: Shape } {
  const shape = shapeOf(nested);
  const numbers: number[] = [];
  add(nested, 0, 'data');
  return { numbers, shape };

  function add(part: NestedNumbers, axis: number, name: string): void {
    const extent = shape[axis];
    if (extent === undefined) {
      if (typeof part !== 'number') throw new ParameterError(`${name} must be a number, got ${show(part)}`);
      numbers.push(part);
      return;
    }
    if (!Array.isArray(part) || part.length !== extent) {
      const got = Array.isArray(part) ? `${part.length}` : show(part);
      throw new ShapeError(`${name} must be an array of ${extent}, as the first one of its axis is, got ${got}`);
    }
    // By index, since iterators skip unset elements.
    for (let at = 0; at < extent; at++) add(part[at] as NestedNumbers, axis + 1, `${name}[${at}]`);
  }
}

/** The shape, from the first array of each axis. */
function shapeOf(nested: NestedNumbers): Shape {
  const shape: number[] = [];
  for (let part: unknown = nested; Array.isArray(part); part = part[0]) {
    if (shape.length === MOST_AXES) throw new ShapeError(`data must have at most ${MOST_AXES} axes, got more`);
    shape.push(part.length);
  }
  return shape;
}
