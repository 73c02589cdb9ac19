/** Meshes of stereolithography (.stl), binary and as text. */
import { ParseError } from '../../errors';
import { checkCount, type Geometry, Growing, linesOf, numberIn } from './geometry';

const [HEADER, TRIANGLE] = [84, 50];

export function readStl(label: string, bytes: Uint8Array): Geometry {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.length >= HEADER ? view.getUint32(80, true) : -1;
  // A binary header may begin with "solid", too: its length decides.
  if (bytes.length === HEADER + TRIANGLE * count)
    return withFaces(binary(view, checkCount(label, 'triangles', count, 1)));
  const points = new TextDecoder('latin1').decode(bytes.subarray(0, 5)) === 'solid' ? text(label, bytes) : undefined;
  if (points?.length) return withFaces(points);
  throw new ParseError(
    `${label} is no STL file: expected "solid" and vertices, or ${HEADER} bytes and ${TRIANGLE} for each of ${Math.max(count, 0)} triangles, got ${bytes.length} bytes`,
  );
}

function binary(view: DataView, count: number): Float32Array {
  const points = new Float32Array(9 * count);
  for (let face = 0; face < count; face++)
    for (let at = 0; at < 9; at++)
      points[9 * face + at] = view.getFloat32(HEADER + TRIANGLE * face + 12 + 4 * at, true);
  return points;
}

function text(label: string, bytes: Uint8Array): Float32Array {
  const points = new Growing(label, 'points', new Float32Array());
  let number = 0;
  for (const line of linesOf(label, bytes)) {
    number++;
    if (!line.startsWith('vertex')) continue;
    const words = line.split(/\s+/);
    for (let axis = 1; axis <= 3; axis++) points.push(numberIn(label, words[axis], `in line ${number}`));
  }
  if (points.length % 9 !== 0)
    throw new ParseError(`${label} must have three vertices a triangle, got ${points.length / 3} in all`);
  return points.taken();
}

/** Each three points are a triangle. */
const withFaces = (points: Float32Array): Geometry => ({
  points,
  faces: Uint32Array.from({ length: points.length / 3 }, (_, at) => at),
});
