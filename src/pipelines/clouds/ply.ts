/** The polygon file format (.ply): text, or binary of either byte order. Source: G. Turk 1994. */
import { ParseError } from '../../errors';
import { checkCount, type Geometry, Growing, linesOf, pushPolygon } from './geometry';
import { isType, type NumberType, readerOf, sizeOfType } from './number-types';

interface Property {
  readonly name: string;
  readonly type: NumberType;
  /** The type of a list's length; undefined for a single number. */
  readonly count?: NumberType | undefined;
}

interface Element {
  readonly name: string;
  readonly count: number;
  readonly properties: Property[];
}

/** Where the numbers of a body are taken from, one after the other. */
interface Source {
  next(type: NumberType): number;
}

const FORMATS = ['ascii', 'binary_little_endian', 'binary_big_endian'];
/** The longest header. */
const LONGEST = 65_536;
/** The most corners of a face. */
const MOST_CORNERS = 1000;
const AXES = ['x', 'y', 'z'];
const LABELS = ['label', 'anomaly', 'gt'];
const CORNERS = ['vertex_indices', 'vertex_index'];

export function readPly(label: string, bytes: Uint8Array): Geometry {
  const { format, elements, start } = headerOf(label, bytes);
  const body = bytes.subarray(start);
  const source = format === 'ascii' ? textSource(label, body) : binarySource(label, body, format !== FORMATS[2]);
  const vertex = elements.find(({ name }) => name === 'vertex');
  if (!vertex) throw new ParseError(`${label} has no vertices`);
  const names = vertex.properties.map(({ name }) => name);
  const missing = AXES.find((axis) => !names.includes(axis));
  if (missing)
    throw new ParseError(`vertices of ${label} must have the properties x, y and z, got ${names.join(', ')}`);
  checkLength(label, elements, format, bytes.length - start);
  const points = new Float32Array(3 * vertex.count);
  const labelName = names.find((name) => LABELS.includes(name));
  const labels = labelName === undefined ? undefined : new Uint8Array(vertex.count);
  const faces = new Growing(label, 'triangles', new Uint32Array());
  for (const element of elements.filter(({ properties }) => properties.length > 0))
    for (let row = 0; row < element.count; row++)
      for (const property of element.properties) {
        const values = property.count ? listOf(label, source, property) : undefined;
        const value = values ? 0 : source.next(property.type);
        if (element === vertex && !values) {
          const axis = AXES.indexOf(property.name);
          if (axis >= 0) points[3 * row + axis] = value;
          if (labels && property.name === labelName) labels[row] = value === 0 ? 0 : 1;
        }
        if (element.name === 'face' && values && CORNERS.includes(property.name)) pushPolygon(faces, values);
      }
  return { points, labels, faces: faces.length > 0 ? faces.taken() : undefined };
}

function headerOf(label: string, bytes: Uint8Array) {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, LONGEST));
  const end = /^end_header[ \t]*\r?\n/m.exec(text);
  if (!/^ply\s/.test(text) || !end)
    throw new ParseError(`${label} is no PLY file: expected "ply" and, within ${LONGEST} bytes, "end_header"`);
  const refuse = (line: string) =>
    new ParseError(`the header of ${label} has a line that means nothing: ${JSON.stringify(line.slice(0, 80))}`);
  const elements: Element[] = [];
  let format: string | undefined;
  for (const line of text.slice(0, end.index).split(/\r?\n/).slice(1)) {
    const [word, ...rest] = line.trim().split(/\s+/) as [string, ...string[]];
    if (word === '' || word === 'comment' || word === 'obj_info') continue;
    if (word === 'format') format = rest[0];
    else if (word === 'element' && rest.length === 2)
      elements.push({
        name: rest[0] as string,
        count: checkCount(label, `elements ${rest[0]}`, Number(rest[1])),
        properties: [],
      });
    else if (word === 'property') {
      const property = propertyOf(rest);
      const own = elements.at(-1)?.properties;
      if (!property || !own) throw refuse(line);
      own.push(property);
    } else throw refuse(line);
  }
  if (format === undefined || !FORMATS.includes(format))
    throw new ParseError(`the format of ${label} must be one of ${FORMATS.join(', ')}, got ${format ?? 'none'}`);
  return { format, elements, start: end.index + end[0].length };
}

function propertyOf(words: readonly string[]): Property | undefined {
  const [first, second, third, name] = words;
  if (first === 'list')
    return words.length === 4 && isType(second) && isType(third)
      ? { name: name as string, type: third, count: second }
      : undefined;
  return words.length === 2 && isType(first) ? { name: second as string, type: first } : undefined;
}

/** Refuses counts that the file is too short for, before memory is taken: a number of text takes two bytes, a list its count. */
function checkLength(label: string, elements: readonly Element[], format: string, length: number): void {
  const bytesOf = ({ type, count }: Property) => (format === 'ascii' ? 2 : sizeOfType(count ?? type));
  const least = elements.reduce(
    (sum, { count, properties }) => sum + count * properties.reduce((bytes, each) => bytes + bytesOf(each), 0),
    format === 'ascii' ? -1 : 0,
  );
  if (length < least)
    throw new ParseError(`${label} is cut off: its header tells of ${least} bytes at least, got ${length}`);
}

function listOf(label: string, source: Source, { type, count, name }: Property): number[] {
  const length = source.next(count as NumberType);
  if (!Number.isSafeInteger(length) || length < 0 || length > MOST_CORNERS)
    throw new ParseError(`${name} of ${label} must have from 0 to ${MOST_CORNERS} numbers, got ${length}`);
  return Array.from({ length }, () => source.next(type));
}

function textSource(label: string, body: Uint8Array): Source {
  const lines = linesOf(label, body);
  let [words, at]: [string[], number] = [[], 0];
  return {
    next() {
      while (at === words.length) {
        const { value, done } = lines.next();
        if (done) throw new ParseError(`${label} is cut off: it has fewer numbers than its header tells`);
        [words, at] = [value === '' ? [] : value.split(/\s+/), 0];
      }
      const word = words[at++] as string;
      const value = Number(word);
      if (Number.isNaN(value) && !/^[-+]?nan/i.test(word))
        throw new ParseError(`${label} must have numbers after its header, got ${JSON.stringify(word.slice(0, 40))}`);
      return value;
    },
  };
}

function binarySource(label: string, body: Uint8Array, isLittle: boolean): Source {
  const read = readerOf(body, isLittle);
  let at = 0;
  return {
    next(type) {
      const from = at;
      at += sizeOfType(type);
      if (at > body.length) throw new ParseError(`${label} is cut off: it has fewer bytes than its header tells`);
      return read(type, from);
    },
  };
}
