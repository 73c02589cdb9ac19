/** The point cloud data of PCL (.pcd): text, binary and compressed. */
import { ParseError } from '../../errors';
import { checkCount, type Geometry, linesOf, numberIn } from './geometry';
import { isType, type NumberType, readerOf } from './number-types';

interface Field {
  readonly name: string;
  readonly type: NumberType;
  /** Bytes of a number, and numbers of a point. */
  readonly size: number;
  readonly count: number;
}

interface Header {
  readonly fields: readonly Field[];
  readonly points: number;
  /** Whether it is a picture of depths, in which points may be missing. */
  readonly isOrganised: boolean;
  readonly data: string;
  readonly start: number;
}

const LONGEST = 16_384;
/** The most numbers of a field. */
const MOST_NUMBERS = 4096;
const KINDS: Readonly<Record<string, string>> = { I: 'int', U: 'uint', F: 'float' };
const AXES = ['x', 'y', 'z'];
const LABELS = ['label', 'anomaly', 'gt'];

export function readPcd(label: string, bytes: Uint8Array): Geometry {
  const header = headerOf(label, bytes);
  const { fields, points: count, isOrganised } = header;
  const columns = [...AXES, fields.find(({ name }) => LABELS.includes(name))?.name ?? ''];
  const missing = AXES.find((axis) => !fields.some(({ name }) => name === axis));
  if (missing)
    throw new ParseError(`${label} must have the fields x, y and z, got ${fields.map(({ name }) => name).join(' ')}`);
  const read = readerOfPoints(label, header, bytes.subarray(header.start), columns);
  const points = new Float32Array(3 * count);
  const labels = new Uint8Array(count);
  let kept = 0;
  for (let row = 0; row < count; row++) {
    const [x, y, z, mark] = read(row) as [number, number, number, number];
    // A camera that saw nothing there says so.
    if (isOrganised && Number.isNaN(x) && Number.isNaN(y) && Number.isNaN(z)) continue;
    points.set([x, y, z], 3 * kept);
    labels[kept++] = mark === 0 ? 0 : 1;
  }
  return { points: points.subarray(0, 3 * kept), labels: columns[3] === '' ? undefined : labels.subarray(0, kept) };
}

function headerOf(label: string, bytes: Uint8Array): Header {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, LONGEST));
  const end = /^DATA[ \t]+(\S+)[ \t]*\r?\n/m.exec(text);
  if (!end) throw new ParseError(`${label} is no PCD file: expected a line with DATA within ${LONGEST} bytes`);
  const lines = new Map<string, string[]>();
  for (const line of text.slice(0, end.index).split(/\r?\n/)) {
    const [word, ...rest] = line.trim().split(/\s+/) as [string, ...string[]];
    if (word !== '' && !word.startsWith('#')) lines.set(word, rest);
  }
  const names = lines.get('FIELDS') ?? [];
  const listed = (name: string, common?: string) => {
    const words = lines.get(name) ?? (common === undefined ? [] : names.map(() => common));
    if (words.length === names.length) return words;
    throw new ParseError(`${name} of ${label} must be one for each of the ${names.length} fields, got ${words.length}`);
  };
  const [sizes, types, counts] = [listed('SIZE'), listed('TYPE'), listed('COUNT', '1')];
  const fields = names.map((name, at): Field => {
    const type = `${KINDS[types[at] as string]}${8 * Number(sizes[at])}`;
    const count = Number(counts[at]);
    if (!isType(type) || !Number.isSafeInteger(count) || count < 1 || count > MOST_NUMBERS)
      throw new ParseError(
        `field ${name} of ${label} must be of a type I, U or F and a size, got ${types[at]} ${sizes[at]}, ${count} times`,
      );
    return { name, type, size: Number(sizes[at]), count };
  });
  const number = (name: string, common: number) =>
    lines.has(name) ? numberIn(label, lines.get(name)?.[0], `as ${name}`) : common;
  const [width, height] = [number('WIDTH', 0), number('HEIGHT', 1)];
  const points = checkCount(label, 'points', number('POINTS', width * height));
  return { fields, points, isOrganised: height > 1, data: end[1] as string, start: end.index + end[0].length };
}

/** Reads the numbers of a point in some columns; of one that is not there 0. */
type Rows = (row: number) => number[];

function readerOfPoints(label: string, header: Header, body: Uint8Array, columns: readonly string[]): Rows {
  const { fields, points, data } = header;
  if (data === 'ascii') return textRows(label, header, body, columns);
  const stride = fields.reduce((sum, { size, count }) => sum + size * count, 0);
  const isPlain = data === 'binary';
  if (!isPlain && data !== 'binary_compressed')
    throw new ParseError(`DATA of ${label} must be ascii, binary or binary_compressed, got ${data.slice(0, 40)}`);
  const bytes = isPlain ? body : inflated(label, body, stride * points);
  if (bytes.length < stride * points)
    throw new ParseError(`${label} is cut off: ${points} points take ${stride * points} bytes, got ${bytes.length}`);
  const read = readerOf(bytes, true);
  let before = 0;
  const places = fields.map(({ name, type, size, count }) => {
    // Compressed, the numbers of a field lie together.
    const place = { name, type, first: isPlain ? before : before * points, step: isPlain ? stride : size * count };
    before += size * count;
    return place;
  });
  const chosen = columns.map((column) => places.find(({ name }) => name === column));
  return (row) => chosen.map((place) => (place ? read(place.type, place.first + row * place.step) : 0));
}

function textRows(label: string, { fields, points }: Header, body: Uint8Array, columns: readonly string[]): Rows {
  let before = 0;
  const places = new Map<string, number>();
  for (const { name, count } of fields) {
    places.set(name, before);
    before += count;
  }
  // Each number takes two bytes, with what is between them.
  if (body.length < 2 * before * points - 1)
    throw new ParseError(
      `${label} is cut off: ${points} points take ${2 * before * points} bytes at least, got ${body.length}`,
    );
  const lines = linesOf(label, body);
  return (row) => {
    const { value, done } = lines.next();
    if (done) throw new ParseError(`${label} is cut off: expected ${points} points, got ${row}`);
    const words = value.split(/\s+/);
    return columns.map((column) => {
      const place = places.get(column);
      if (place === undefined) return 0;
      const word = words[place];
      return /^[-+]?nan$/i.test(word ?? '') ? Number.NaN : numberIn(label, word, `for ${column} of point ${row}`);
    });
  };
}

/** What LZF compressed: literals of up to 32 bytes, and copies of what came before. Source: the format of liblzf. */
function inflated(label: string, body: Uint8Array, wanted: number): Uint8Array {
  const refuse = (why: string) => new ParseError(`${label} cannot be decompressed: ${why}`);
  if (body.length < 8) throw refuse('it is cut off');
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [packed, size] = [view.getUint32(0, true), view.getUint32(4, true)];
  // A byte of the file becomes 132 at most.
  if (size !== wanted || packed > body.length - 8 || size > 132 * packed)
    throw refuse(`expected ${wanted} bytes from the ${body.length - 8} there are, got ${size} from ${packed}`);
  const [from, to] = [body.subarray(8, 8 + packed), new Uint8Array(size)];
  let [read, written] = [0, 0];
  while (read < packed) {
    const control = from[read++] as number;
    if (control < 32) {
      const length = control + 1;
      if (read + length > packed || written + length > size) throw refuse('bytes go beyond its end');
      to.set(from.subarray(read, read + length), written);
      [read, written] = [read + length, written + length];
      continue;
    }
    const short = control >> 5;
    const length = 2 + (short === 7 ? 7 + (from[read++] ?? 0) : short);
    const distance = ((control & 31) << 8) + (from[read++] ?? 0) + 1;
    if (distance > written || written + length > size) throw refuse('a copy goes beyond its bytes');
    // Copies may overlap what they write.
    for (let at = 0; at < length; at++, written++) to[written] = to[written - distance] as number;
  }
  if (written !== size) throw refuse(`expected ${size} bytes, got ${written}`);
  return to;
}
