/** Points in space, with triangles between them where a file has a mesh. */
import { ParseError } from '../../errors';

export interface Geometry {
  /** [n, 3]. */
  readonly points: Float32Array;
  /** Which points are of a defect: [n], 1 or 0; undefined where that is not known. */
  readonly labels?: Uint8Array | undefined;
  /** Triangles as indices of points, [m, 3]; undefined for a cloud. */
  readonly faces?: Uint32Array | undefined;
}

/** The most points, and the most triangles, of a file. */
export const MOST_POINTS = 10_000_000;
/** The largest coordinate: squares of distances stay finite in float32. */
const LARGEST = 1e18;

/** Refuses a count of a file's header before memory is taken for it. */
export function checkCount(label: string, what: string, count: number, least = 0): number {
  if (Number.isSafeInteger(count) && count >= least && count <= MOST_POINTS) return count;
  throw new ParseError(`${label} must have from ${least} to ${MOST_POINTS} ${what}, got ${count}`);
}

/** Throws unless there are points, three numbers each, all of finite numbers, and every face has points. */
export function checkGeometry(label: string, geometry: Geometry): Geometry {
  const { points, faces } = geometry;
  const count = points.length / 3;
  if (points.length % 3 !== 0)
    throw new ParseError(`points of ${label} must be three numbers each, got ${points.length}`);
  if (faces && faces.length % 3 !== 0)
    throw new ParseError(`faces of ${label} must be three corners each, got ${faces.length}`);
  if (count === 0) throw new ParseError(`${label} has no points`);
  const strange = points.findIndex((value) => !(Math.abs(value) <= LARGEST));
  if (strange >= 0)
    throw new ParseError(
      `points of ${label} must be finite numbers up to ${LARGEST}, got ${points[strange]} at point ${Math.floor(strange / 3)}`,
    );
  const outside = faces?.findIndex((index) => index >= count) ?? -1;
  if (outside >= 0)
    throw new ParseError(
      `faces of ${label} must have indices from 0 to ${count - 1}, got ${faces?.[outside]} in triangle ${Math.floor(outside / 3)}`,
    );
  return geometry;
}

/** Numbers that are added one by one, at most three for each point or triangle. */
export class Growing<T extends Float32Array | Uint32Array> {
  #values: T;
  #length = 0;
  readonly #label: string;
  readonly #what: string;

  constructor(label: string, what: string, values: T) {
    this.#label = label;
    this.#what = what;
    this.#values = values;
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const room = Math.min(Math.max(2 * this.#length, 3072), 3 * MOST_POINTS);
      if (room === this.#length) checkCount(this.#label, this.#what, MOST_POINTS + 1);
      const Values = this.#values.constructor as new (length: number) => T;
      const next = new Values(room);
      next.set(this.#values);
      this.#values = next;
    }
    this.#values[this.#length++] = value;
  }

  taken(): T {
    return this.#values.slice(0, this.#length) as T;
  }
}

/** Triangles that share the first corner of a polygon. */
export function pushPolygon(faces: Growing<Uint32Array>, corners: ArrayLike<number>): void {
  for (let at = 2; at < corners.length; at++)
    for (const corner of [0, at - 1, at]) faces.push(corners[corner] as number);
}

const PIECE = 2 ** 20;

/** The lines of a text, without what ends them and without spaces around. */
export function* linesOf(label: string, bytes: Uint8Array): Generator<string> {
  const decoder = new TextDecoder('latin1');
  let rest = '';
  for (let from = 0; from < bytes.length; from += PIECE) {
    const lines = (rest + decoder.decode(bytes.subarray(from, from + PIECE))).split('\n');
    rest = lines.pop() as string;
    // A file without an end of a line is none of text.
    if (rest.length > 16 * PIECE) throw new ParseError(`${label} has a line longer than ${16 * PIECE} characters`);
    for (const line of lines) yield line.trim();
  }
  yield rest.trim();
}

/** The number that a word of a text is; throws unless it is one. */
export function numberIn(label: string, word: string | undefined, where: string): number {
  const value = word === undefined || word === '' ? Number.NaN : Number(word);
  if (Number.isNaN(value))
    throw new ParseError(`${label} must have a number ${where}, got ${JSON.stringify(word?.slice(0, 40) ?? '')}`);
  return value;
}
