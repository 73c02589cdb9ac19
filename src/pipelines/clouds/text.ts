/** Clouds as lines of numbers (.xyz), and meshes of Wavefront (.obj). */
import { ParseError } from '../../errors';
import { type Geometry, Growing, linesOf, numberIn, pushPolygon } from './geometry';

/**
 * A point a line: x, y, z, and further columns, which are not used unless there is just one: then it tells which points are of a
 * defect. Numbers are apart by spaces, commas or semicolons; lines that begin with # or // are comments.
 */
export function readXyz(label: string, bytes: Uint8Array): Geometry {
  const points = new Growing(label, 'points', new Float32Array());
  const labels: number[] = [];
  let [number, columns] = [0, 0];
  for (const line of linesOf(label, bytes)) {
    number++;
    if (line === '' || line.startsWith('#') || line.startsWith('//')) continue;
    const words = line.split(/[\s,;]+/);
    columns ||= words.length;
    if (words.length !== columns || columns < 3)
      throw new ParseError(
        `${label} must have 3 numbers or more in each line, always as many, got ${words.length} in line ${number}`,
      );
    for (let axis = 0; axis < 3; axis++) points.push(numberIn(label, words[axis], `in line ${number}`));
    if (columns === 4) labels.push(numberIn(label, words[3], `in line ${number}`) === 0 ? 0 : 1);
  }
  return { points: points.taken(), labels: columns === 4 ? Uint8Array.from(labels) : undefined };
}

/** Vertices (`v`) and faces (`f`) of any number of corners, whose indices count from 1, or from the last one back; all else is left. */
export function readObj(label: string, bytes: Uint8Array): Geometry {
  const points = new Growing(label, 'points', new Float32Array());
  const faces = new Growing(label, 'triangles', new Uint32Array());
  let number = 0;
  for (const line of linesOf(label, bytes)) {
    number++;
    const [kind, ...words] = line.split(/\s+/);
    const where = `in line ${number}`;
    if (kind === 'v') for (let axis = 0; axis < 3; axis++) points.push(numberIn(label, words[axis], where));
    if (kind !== 'f') continue;
    const count = points.length / 3;
    const corners = words.map((word) => {
      const index = numberIn(label, word.split('/', 1)[0], where);
      const corner = index < 0 ? count + index : index - 1;
      if (Number.isSafeInteger(corner) && corner >= 0 && corner < count) return corner;
      throw new ParseError(
        `faces of ${label} must have indices of the ${count} vertices before them, got ${index} ${where}`,
      );
    });
    if (corners.length < 3)
      throw new ParseError(`faces of ${label} must have 3 corners or more, got ${corners.length} ${where}`);
    pushPolygon(faces, corners);
  }
  return { points: points.taken(), faces: faces.length > 0 ? faces.taken() : undefined };
}
