import { show } from '../check';
import { ShapeError } from '../errors';

/** The extent of each axis, the last one's elements next to each other. */
export type Shape = readonly number[];

/** Axes that a message shows: hostile files claim thousands. */
const LONGEST_SHOWN = 16;

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Strides, in elements, of a row-major tensor. */
export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  return strides;
}

/** The place of a view's last element. */
export const lastElement = (shape: Shape, strides: readonly number[], offset: number): number =>
  shape.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] as number), offset);

/** Whether a view has elements from one place up to another. */
export function hasElementIn(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  from: number,
  to: number,
): boolean {
  const last = lastElement(shape, strides, offset);
  if (offset >= to || last < from) return false;
  const [extent, ...inner] = shape;
  if (extent === undefined || offset >= from) return true;
  const [stride, ...steps] = strides as [number, ...number[]];
  if (stride === 0) return hasElementIn(inner, steps, offset, from, to);
  const length = last - offset - (extent - 1) * stride;
  for (let at = Math.max(0, Math.ceil((from - offset - length) / stride)); at < extent; at++) {
    const first = offset + at * stride;
    if (first >= to) return false;
    if (hasElementIn(inner, steps, first, from, to)) return true;
  }
  return false;
}

/** True if the elements lie in memory in row-major order without gaps. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  if (sizeOf(shape) === 0) return true;
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== stride) return false;
    stride *= shape[axis] as number;
  }
  return true;
}

/** Throws unless every extent is a non-negative safe integer and their product is one too. */
export function checkShape(name: string, shape: Shape): void {
  if (!Array.isArray(shape)) throw new ShapeError(`${name} must be an array of extents, got ${show(shape)}`);
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 0) {
      throw new ShapeError(`${name} must have non-negative integer extents, got ${formatShape(shape)}`);
    }
  }
  if (!Number.isSafeInteger(sizeOf(shape))) {
    throw new ShapeError(`${name} ${formatShape(shape)} has more elements than can be counted`);
  }
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

export function formatShape(shape: Shape): string {
  if (shape.length > LONGEST_SHOWN) return `[${shape.slice(0, LONGEST_SHOWN).join(', ')}, ... ${shape.length} axes]`;
  return `[${Array.from(shape, (extent) => (typeof extent === 'number' ? extent : show(extent))).join(', ')}]`;
}

/** Extents of axes by their letters. */
export type Extents = Readonly<Record<string, number>>;

/**
 * Matches shapes against specifications such as `{ q: 'b n h d', k: 'b m g d' }` and returns the extent of every letter.
 * `...space` stands for one to three axes, whose extents are `space0`, `space1`, ... and whose product is n. `...` in front
 * stands for any number of axes, the same ones wherever it stands, and its extent is their product. A number is an extent.
 * A letter that means two extents, a wrong rank or an empty extent is a ShapeError that names both sides.
 */
export function bindShapes<Name extends string>(
  specs: Readonly<Record<Name, string>>,
  shapes: Readonly<Record<Name, Shape>>,
): Record<string, number> {
  return shapeBinder(specs)(shapes);
}

/** `bindShapes` of the same specifications again and again; shapes may be missing. */
export function shapeBinder<Name extends string>(
  specs: Readonly<Record<Name, string>>,
): (shapes: Readonly<Partial<Record<Name, Shape>>>) => Record<string, number> {
  const all = Object.entries<string>(specs).map(([name, spec]) => [name, axesOf(spec)] as const);
  const hasSpace = all.some(([, axes]) => axes.includes(SPACE));
  return (shapes: Readonly<Record<string, Shape | undefined>>) => {
    const binding: Binding = { extents: {}, sources: {}, lead: undefined };
    for (const [name, axes] of all) if (shapes[name]) bindShape(name, axes, shapes, binding);
    const { extents } = binding;
    const grid = hasSpace ? gridOf(extents) : [];
    return grid.length > 0 ? { ...extents, n: sizeOf(grid), m: sizeOf(grid) } : extents;
  };
}

interface Binding {
  readonly extents: Record<string, number>;
  /** The names of the tensors in which letters were met first. */
  readonly sources: Record<string, string>;
  /** What `...` stands for. */
  lead: Shape | undefined;
}

function bindShape(
  name: string,
  axes: readonly string[],
  shapes: Readonly<Record<string, Shape | undefined>>,
  binding: Binding,
): void {
  const { extents, sources } = binding;
  const shape = shapes[name] as Shape;
  const fail = (letter = '', expected: unknown = '') => {
    const source = sources[letter];
    const why = source ? ` with ${letter} = ${expected} as in ${source} ${formatShape(shapes[source] as Shape)}` : '';
    throw new ShapeError(`${name} must have shape [${axes.join(', ')}]${why}, got ${formatShape(shape)}`);
  };
  const isLed = axes[0] === LEAD;
  const letters = isLed ? axes.slice(1) : withSpace(axes, shape.length);
  const ahead = shape.length - letters.length;
  if (isLed ? ahead < 0 : ahead !== 0) fail();
  if (isLed) {
    const own = shape.slice(0, ahead);
    binding.lead ??= own;
    if (!sameShape(binding.lead, own)) fail(LEAD, formatShape(binding.lead));
    extents[LEAD] = sizeOf(own);
    sources[LEAD] ??= name;
  }
  for (let at = 0; at < letters.length; at++) {
    const letter = letters[at] as string;
    const extent = shape[ahead + at] as number;
    if (extent < 1) throw new ShapeError(`${name} ${formatShape(shape)} is empty along ${letter}`);
    const expected = extents[letter] ?? (LITERAL.test(letter) ? Number(letter) : extent);
    if (expected !== extent) fail(letter, expected);
    extents[letter] = extent;
    sources[letter] ??= name;
  }
}

/** The axes of a specification. */
export const axesOf = (spec: string): readonly string[] => spec.split(' ').filter((letter) => letter !== '');

/** Stands for any number of leading axes. */
export const LEAD = '...';
const SPACE = '...space';
const MOST_AXES = 3;
const LITERAL = /^\d+$/;

function withSpace(axes: readonly string[], rank: number): readonly string[] {
  if (!axes.includes(SPACE)) return axes;
  return axes.flatMap((letter) => (letter === SPACE ? spaceLetters(rank - axes.length + 1) : letter));
}

/** The extents of the spatial axes among letters, none where there are none. */
export function gridOf(letters: Readonly<Record<string, number>>): number[] {
  return spaceLetters(MOST_AXES).flatMap((letter) => letters[letter] ?? []);
}

/** Letters of `count` spatial axes; of at most three. */
function spaceLetters(count: number): string[] {
  return Array.from({ length: Math.min(MOST_AXES, Math.max(1, count)) }, (_, axis) => `space${axis}`);
}
