/** Arrays within arrays, as matrices are written by hand. */
import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Shape } from './shape';

/** A number, or arrays of equal length of such, one within the other. */
export type NestedNumbers = number | readonly NestedNumbers[];

/** Axes; arrays that hold themselves have no end. */
const MOST_AXES = 32;

/**
 * The numbers in row-major order, and the shape that they make.
 * @throws {ShapeError} arrays of one axis that differ in length, too many axes
 * @throws {ParameterError} what is no number
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
    // By index, as places that are not set are skipped by iterators.
    for (let at = 0; at < extent; at++) add(part[at] as NestedNumbers, axis + 1, `${name}[${at}]`);
  }
}

/** The shape by the first of each axis. */
function shapeOf(nested: NestedNumbers): Shape {
  const shape: number[] = [];
  for (let part: unknown = nested; Array.isArray(part); part = part[0]) {
    if (shape.length === MOST_AXES) throw new ShapeError(`data must have at most ${MOST_AXES} axes, got more`);
    shape.push(part.length);
  }
  return shape;
}
