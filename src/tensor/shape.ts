import { show } from '../check';
import { ShapeError } from '../errors';

/** The extent of each axis, the last one's elements next to each other. */
export type Shape = readonly number[];

/** Axes that a message shows: hostile files claim thousands. */
const LONGEST_SHOWN = 16;

// Loops by index: methods and iterators of frozen arrays, which shapes of tensors are, take several times as long.

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let axis = 0; axis < shape.length; axis++) size *= shape[axis] as number;
  return size;
}

/**
 * Lists that recur, by their hashes, and frozen copies of them: finding one takes a fraction of the time of freezing it, and
 * comparing it with a list that is not frozen a third of that with one that is.
 */
const known: (readonly number[] | undefined)[] = new Array(256).fill(undefined);
const copies: (readonly number[])[] = [];

/** A frozen list of the same extents or strides. */
export function frozen(list: readonly number[]): readonly number[] {
  let hash = list.length;
  for (let at = 0; at < list.length; at++) hash = (Math.imul(hash, 31) + (list[at] as number)) | 0;
  hash = (hash ^ (hash >>> 8)) & 255;
  const found = known[hash];
  if (found && sameShape(found, list)) return copies[hash] as readonly number[];
  const copy = Object.freeze([...list]);
  known[hash] = [...list];
  copies[hash] = copy;
  return copy;
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

/** The offset of a view's last element. */
export function lastElement(shape: Shape, strides: readonly number[], offset: number): number {
  let last = offset;
  for (let axis = 0; axis < shape.length; axis++) last += ((shape[axis] as number) - 1) * (strides[axis] as number);
  return last;
}

/** Whether a view has elements from one offset up to another. */
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

/** Whether the elements are in memory in row-major order without gaps. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  if (sizeOf(shape) === 0) return true;
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== stride) return false;
    stride *= shape[axis] as number;
  }
  return true;
}

/** Strides with which another shape has the same elements in the same order; undefined if there are none. */
export function stridesAfterReshape(from: Shape, strides: readonly number[], shape: Shape): number[] | undefined {
  if (sizeOf(from) === 0) return rowMajorStrides(shape);
  // Merge neighbouring axes that form one run of memory, then split the runs from the right.
  const runs: { extent: number; stride: number }[] = [];
  for (const [axis, extent] of from.entries()) {
    if (extent === 1) continue;
    const stride = strides[axis] as number;
    const last = runs.at(-1);
    if (last && last.stride === extent * stride) {
      last.extent *= extent;
      last.stride = stride;
    } else runs.push({ extent, stride });
  }
  const result = new Array<number>(shape.length).fill(1);
  let [run, taken] = [runs.pop(), 1];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const extent = shape[axis] as number;
    if (extent === 1) continue;
    if (taken === run?.extent) [run, taken] = [runs.pop(), 1];
    if (!run || run.extent % (taken * extent) !== 0) return undefined;
    result[axis] = run.stride * taken;
    taken *= extent;
  }
  return result;
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
  if (a.length !== b.length) return false;
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false;
  return true;
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
 * stands for any number of axes, the same ones wherever it stands, and its extent is their product. `*` in front stands for
 * any number of axes that broadcast with those of the others that begin so. A number is an extent.
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
  const all = Object.entries<string>(specs).map(([name, spec]) => parseAxes(name, spec));
  const literals = all.flatMap(({ letters }) => letters.filter((letter) => LITERAL.test(letter)));
  const hasSpace = all.some(({ letters }) => letters.includes(SPACE));
  return (shapes: Shapes) => {
    const extents: Record<string, number> = {};
    for (const literal of literals) extents[literal] = Number(literal);
    for (const axes of all) if (shapes[axes.name]) bindShape(axes, extents, all, shapes);
    const grid = hasSpace ? gridOf(extents) : [];
    return grid.length > 0 ? { ...extents, n: sizeOf(grid), m: sizeOf(grid) } : extents;
  };
}

type Shapes = Readonly<Record<string, Shape | undefined>>;

/** The axes of a tensor, as a specification has them. */
interface Axes {
  readonly name: string;
  readonly axes: readonly string[];
  /** How they begin, if with any number of axes, and those behind. */
  readonly lead: typeof LEAD | typeof BROADCAST | undefined;
  readonly letters: readonly string[];
}

function parseAxes(name: string, spec: string): Axes {
  const axes = axesOf(spec);
  const [first] = axes;
  const lead = first === LEAD || first === BROADCAST ? first : undefined;
  return { name, axes, lead, letters: lead ? axes.slice(1) : axes };
}

/** Adds the extents of a shape to those of the shapes before it. */
function bindShape(axes: Axes, extents: Record<string, number>, all: readonly Axes[], shapes: Shapes): void {
  const shape = shapes[axes.name] as Shape;
  const letters = withSpace(axes.letters, shape.length);
  const ahead = shape.length - letters.length;
  if (axes.lead ? ahead < 0 : ahead !== 0) {
    const known = letters.every((letter) => extents[letter] !== undefined) ? letters[0] : undefined;
    throw misfit(axes, known, extents, all, shapes);
  }
  if (axes.lead === BROADCAST) checkBroadcast(axes, all, shapes);
  if (axes.lead === LEAD) {
    const first = all.find(({ lead, name }) => lead === LEAD && shapes[name]) as Axes;
    const other = shapes[first.name] as Shape;
    let fits = other.length - first.letters.length === ahead;
    let size = 1;
    // By index: slices of frozen arrays take ten times as long.
    for (let axis = 0; axis < ahead; axis++) {
      size *= shape[axis] as number;
      if (shape[axis] !== other[axis]) fits = false;
    }
    if (!fits) throw misfit(axes, LEAD, extents, all, shapes);
    extents[LEAD] = size;
  }
  for (let at = 0; at < letters.length; at++) {
    const letter = letters[at] as string;
    const extent = shape[ahead + at] as number;
    if (extent < 1) throw new ShapeError(`${axes.name} ${formatShape(shape)} is empty along ${letter}`);
    const before = extents[letter];
    if (before === undefined) extents[letter] = extent;
    else if (before !== extent) throw misfit(axes, letter, extents, all, shapes);
  }
}

/** Throws unless leading axes broadcast with those of the tensors before. */
function checkBroadcast(axes: Axes, all: readonly Axes[], shapes: Shapes): void {
  const [own, { length }] = [shapes[axes.name] as Shape, axes.letters];
  for (const other of all) {
    if (other === axes) return;
    const shape = shapes[other.name];
    if (other.lead !== BROADCAST || !shape || (other.letters.length === length && sameShape(shape, own))) continue;
    if (broadcastShape(leadOf(other, shapes), leadOf(axes, shapes))) continue;
    throw broadcastMisfit(
      axes.name,
      own,
      other.name,
      shape,
      length > 0 ? 'leading axes that broadcast with those of' : undefined,
    );
  }
}

/** The shape that both broadcast to, if there is one. */
export function broadcastShape(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let axis = 0; axis < rank; axis++) {
    const [x, y] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape[axis] = x === 1 ? y : x;
  }
  return shape;
}

/** A tensor whose shape does not broadcast with another one's. */
export const broadcastMisfit = (
  name: string,
  shape: Shape,
  other: string,
  otherShape: Shape,
  what = 'a shape that broadcasts with',
): ShapeError =>
  new ShapeError(`${name} must have ${what} ${other} ${formatShape(otherShape)}, got ${formatShape(shape)}`);

const leadOf = ({ name, letters }: Axes, shapes: Shapes): Shape =>
  (shapes[name] as Shape).slice(0, -letters.length || undefined);

/** A tensor whose shape is another one; because of a letter, if one is known. */
function misfit(
  { name, axes }: Axes,
  letter: string | undefined,
  extents: Extents,
  all: readonly Axes[],
  shapes: Shapes,
): ShapeError {
  const shown = (of: Axes) => `${of.name} ${formatShape(shapes[of.name] as Shape)}`;
  const got = `got ${formatShape(shapes[name] as Shape)}`;
  const before = all.slice(
    0,
    all.findIndex((other) => other.name === name),
  );
  const twin = before.find((other) => shapes[other.name] && other.axes.join() === axes.join());
  if (twin && letter === LEAD) return new ShapeError(`${name} must have the shape of ${shown(twin)}, ${got}`);
  const isKnown = letter !== undefined && !LITERAL.test(letter);
  const source = isKnown ? all.find((other) => shapes[other.name] && other.axes.includes(letter)) : undefined;
  if (source && letter === LEAD) {
    const expected = [...leadOf(source, shapes), ...axes.slice(1)].join(', ');
    return new ShapeError(`${name} must have shape [${expected}] with the leading axes of ${shown(source)}, ${got}`);
  }
  const why = source ? ` with ${letter} = ${extents[letter as string]} as in ${shown(source)}` : '';
  const expected = axes.map((axis) => (axis === BROADCAST ? LEAD : axis)).join(', ');
  return new ShapeError(`${name} must have shape [${expected}]${why}, ${got}`);
}

/** The axes that a specification names. */
export const axesOf = (spec: string): readonly string[] => spec.split(' ').filter((letter) => letter !== '');

/** Stands for any number of leading axes. */
export const LEAD = '...';
/** Stands for any number of leading axes, which broadcast with those of other tensors that begin so. */
export const BROADCAST = '*';
const SPACE = '...space';
/** Some axes with names of their own, such as the spatial ones; of at most three. */
const SEVERAL = /^\.\.\.(\w+)$/;
const MOST_AXES = 3;
const LITERAL = /^\d+$/;

function withSpace(letters: readonly string[], rank: number): readonly string[] {
  if (!letters.some((letter) => SEVERAL.test(letter))) return letters;
  return letters.flatMap((letter) => {
    const [, name] = SEVERAL.exec(letter) ?? [];
    return name ? lettersOf(name, rank - letters.length + 1) : letter;
  });
}

/** The extents of the spatial axes among letters, none where there are none. */
export function gridOf(letters: Readonly<Record<string, number>>): number[] {
  return lettersOf('space', MOST_AXES).flatMap((letter) => letters[letter] ?? []);
}

/** Letters of `count` axes, at most three. */
function lettersOf(name: string, count: number): string[] {
  return Array.from({ length: Math.min(MOST_AXES, Math.max(1, count)) }, (_, axis) => `${name}${axis}`);
}
