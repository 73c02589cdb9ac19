/** Clouds and meshes from the formats that scanners and modellers write. */
import { show } from '../../check';
import { ParameterError, ParseError } from '../../errors';
import { type FileBytes, fileBytes } from '../../io/bytes';
import { parseNpy } from '../../io/npy';
import { formatShape } from '../../tensor/shape';
import { checkGeometry, type Geometry, MOST_POINTS } from './geometry';
import { readPcd } from './pcd';
import { readPly } from './ply';
import { readStl } from './stl';
import { readObj, readXyz } from './text';
import { readThreeDs } from './three-ds';

const READERS: Readonly<Record<string, (label: string, bytes: Uint8Array) => Geometry>> = {
  ...{ ply: readPly, obj: readObj, stl: readStl, '3ds': readThreeDs, pcd: readPcd, npy: readNpyCloud },
  ...{ xyz: readXyz, txt: readXyz, pts: readXyz, csv: readXyz },
};

/** The ends of names of files that `readGeometry` reads. */
const CLOUD_FORMATS = Object.keys(READERS);

/** Whether a file's name ends as one that `readGeometry` reads. */
export const isCloudFile = (name: string): boolean => Object.hasOwn(READERS, endOf(name));

const endOf = (name: string) => name.slice(name.lastIndexOf('.') + 1).toLowerCase();

/**
 * The points of a file, and its triangles where it is a mesh; polygons become triangles. Which format it is its name tells: .ply, .obj,
 * .stl, .3ds, .pcd, .npy [n, 3], or lines of numbers as .xyz, .txt, .pts or .csv. Points of a defect are marked by a property or field
 * `label`, `anomaly` or `gt`, or by a fourth column of .xyz and .npy.
 *
 * @throws {ParameterError} a name of no such format
 * @throws {ParseError} a file that is broken or cut off, has no points or more than ten million, a point that is not finite, a face
 * with an index of no point; the message has the name
 */
export function readGeometry(name: string, file: FileBytes): Geometry {
  if (typeof name !== 'string') throw new ParameterError(`name must be a string, got ${show(name)}`);
  const end = endOf(name);
  const reader = Object.hasOwn(READERS, end) && READERS[end];
  if (!reader)
    throw new ParameterError(`the name must end with one of .${CLOUD_FORMATS.join(', .')}, got ${show(name)}`);
  return checkGeometry(name, reader(name, fileBytes(file, name)));
}

function readNpyCloud(label: string, bytes: Uint8Array): Geometry {
  const { shape, data } = parseNpy(bytes, label);
  const [count = 0, columns = 0] = shape;
  if (shape.length !== 2 || (columns !== 3 && columns !== 4) || count > MOST_POINTS)
    throw new ParseError(
      `${label} must have shape [n, 3], or [n, 4] with labels, of up to ${MOST_POINTS} points, got ${formatShape(shape)}`,
    );
  const at = (row: number, column: number) => Number(data[row * columns + column]);
  const points = Float32Array.from({ length: 3 * count }, (_, i) => at(Math.floor(i / 3), i % 3));
  const labels = columns === 4 ? Uint8Array.from({ length: count }, (_, row) => (at(row, 3) === 0 ? 0 : 1)) : undefined;
  return { points, labels };
}
