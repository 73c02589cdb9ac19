/** Meshes of 3D Studio (.3ds): chunks within chunks, each with its number and its length. */
import { ParseError } from '../../errors';
import { type Geometry, Growing } from './geometry';

/** What chunks are, by their numbers; all others are passed over. */
const [MAIN, EDITOR, OBJECT, MESH, VERTICES, FACES] = [0x4d4d, 0x3d3d, 0x4000, 0x4100, 0x4110, 0x4120];
/** Which chunks are within which. */
const INSIDE: Readonly<Record<number, readonly number[]>> = {
  [MAIN]: [EDITOR],
  [EDITOR]: [OBJECT],
  [OBJECT]: [MESH],
  [MESH]: [VERTICES, FACES],
};
/** Bytes of a chunk's number and length, of a vertex, and of a face: three corners and flags. */
const [HEAD, VERTEX, FACE] = [6, 12, 8];

interface Chunk {
  readonly kind: number;
  readonly from: number;
  readonly to: number;
}

/** The meshes of all objects as one, whose vertices are stored where they are in the scene. */
export function readThreeDs(label: string, bytes: Uint8Array): Geometry {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD || view.getUint16(0, true) !== MAIN)
    throw new ParseError(`${label} is no 3DS file: expected the number ${MAIN} in its first two bytes`);
  const points = new Growing(label, 'points', new Float32Array());
  const faces = new Growing(label, 'triangles', new Uint32Array());
  let before = 0;
  for (const chunk of chunksIn(label, view, { kind: 0, from: 0, to: bytes.length }, [MAIN])) {
    const { kind, from } = chunk;
    if (kind === MESH) before = points.length / 3;
    if (kind === VERTICES)
      for (let at = 0; at < 3 * countOf(label, view, chunk); at++)
        points.push(view.getFloat32(from + 2 + 4 * at, true));
    if (kind === FACES)
      for (let face = 0; face < countOf(label, view, chunk); face++)
        for (let corner = 0; corner < 3; corner++) {
          const index = view.getUint16(from + 2 + FACE * face + 2 * corner, true);
          const own = points.length / 3 - before;
          if (index >= own)
            throw new ParseError(
              `faces of ${label} must have indices of the ${own} vertices of their object, got ${index} in face ${face}`,
            );
          faces.push(before + index);
        }
  }
  return { points: points.taken(), faces: faces.length > 0 ? faces.taken() : undefined };
}

/** Chunks of these kinds, and of those within them, in their order. */
function* chunksIn(label: string, view: DataView, outer: Chunk, kinds: readonly number[]): Generator<Chunk> {
  let at = outer.from;
  while (at + HEAD <= outer.to) {
    const [kind, length] = [view.getUint16(at, true), view.getUint32(at + 2, true)];
    if (length < HEAD || at + length > outer.to)
      throw new ParseError(
        `${label} is cut off or broken: a chunk at byte ${at} must have from ${HEAD} to ${outer.to - at} bytes, got ${length}`,
      );
    if (kinds.includes(kind)) {
      const name = kind === OBJECT ? nameLength(label, view, at + HEAD, at + length) : 0;
      const chunk = { kind, from: at + HEAD + name, to: at + length };
      yield chunk;
      if (INSIDE[kind]) yield* chunksIn(label, view, chunk, INSIDE[kind]);
    }
    at += length;
  }
}

/** Bytes of an object's name, with the zero that ends it. */
function nameLength(label: string, view: DataView, from: number, to: number): number {
  for (let at = from; at < to; at++) if (view.getUint8(at) === 0) return at + 1 - from;
  throw new ParseError(`${label} is broken: the name of an object at byte ${from} has no end`);
}

/** How many vertices or faces a chunk has, for which it is long enough. */
function countOf(label: string, view: DataView, { kind, from, to }: Chunk): number {
  const count = to - from >= 2 ? view.getUint16(from, true) : 0;
  const needed = 2 + count * (kind === VERTICES ? VERTEX : FACE);
  if (to - from >= needed) return count;
  throw new ParseError(
    `${label} is broken: ${count} ${kind === VERTICES ? 'vertices' : 'faces'} at byte ${from} take ${needed} bytes, got ${to - from}`,
  );
}
