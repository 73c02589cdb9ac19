/** Clouds of files and folders: classes to learn and test, or some to score. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { labelled } from '../check';
import { ParameterError } from '../errors';
import { type CloudClass, type CloudSample, madeClass, type ShapeDataOptions } from '../pipelines/anomaly';
import { type Geometry, isCloudFile, readGeometry, SHAPES, sampleMesh } from '../pipelines/clouds';
import { readBytes } from './read-tensors';

/** The name of the data that a seed makes. */
export const MADE = 'shapes';
/** The folder of test clouds without a defect. */
const GOOD = 'good';
/** A file of ten million points as text. */
const MOST = 2 ** 31 - 1;
/** Seeds the points that are taken of a mesh in a file. */
const SEED = 77;

/** The name of a file without what it ends with. */
const stemOf = (path: string) => basename(path).replace(/\.[^.]*$/, '');

/** A file's points; of a mesh so many of its surface. */
async function readCloud(
  path: string,
  points: number,
  name: string = stemOf(path),
): Promise<Omit<CloudSample, 'defect'>> {
  const found = readGeometry(path, await readBytes(path, MOST));
  return found.faces
    ? { name, points: naming(path, () => sampleMesh(found, points, SEED).points) }
    : { name, points: found.points, labels: found.labels };
}

/** The meshes of files, of whose surfaces clouds can be taken. */
export async function readMeshes(paths: readonly string[]): Promise<Geometry[]> {
  const found: Geometry[] = [];
  for (const path of paths) {
    const mesh = readGeometry(path, await readBytes(path, MOST));
    if (!mesh.faces)
      throw new ParameterError(`${path} must be a mesh, whose surface clouds are taken of: it has points alone`);
    naming(path, () => sampleMesh(mesh, 1, SEED));
    found.push(mesh);
  }
  return found;
}

/** Does `work` on what a file has; its errors name the file. */
function naming<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw labelled(path, error);
  }
}

/**
 * The classes of `data`: the shapes, if that is its name, or a folder with a folder for each class, which has `train` with clouds and
 * `test` with folders of clouds, `good` and one for each kind of defect. Each of the meshes is a class, too, to which defects are made.
 */
export async function readClasses(
  data: string,
  meshes: readonly string[],
  made: ShapeDataOptions,
): Promise<CloudClass[]> {
  const classes =
    data === MADE
      ? SHAPES.map((name, at) => madeClass(name, name, { ...made, seed: made.seed + 10 ** 6 * at }))
      : await Promise.all((await foldersIn(data)).map((name) => readClass(data, name, made.points)));
  for (const [at, mesh] of (await readMeshes(meshes)).entries()) {
    const own = { ...made, seed: made.seed + 10 ** 6 * (SHAPES.length + at) };
    classes.push(madeClass(stemOf(meshes[at] as string), mesh, own));
  }
  const names = classes.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new ParameterError(`classes must have different names, got ${twice} twice`);
  if (classes.length === 0)
    throw new ParameterError(`${data} must have a folder for each class, with clouds in train, got none`);
  return classes;
}

async function readClass(data: string, name: string, points: number): Promise<CloudClass> {
  const folder = join(data, name);
  const inside = await foldersIn(folder);
  if (!inside.includes('train'))
    throw new ParameterError(`${folder} must have a folder train, with clouds to learn from`);
  const learned = await cloudsIn(join(folder, 'train'), points);
  if (learned.length === 0) throw new ParameterError(`${join(folder, 'train')} has no clouds`);
  const unseen: CloudSample[] = [];
  for (const kind of inside.includes('test') ? await foldersIn(join(folder, 'test')) : [])
    for (const cloud of await cloudsIn(join(folder, 'test', kind), points))
      unseen.push({ ...cloud, defect: kind === GOOD ? undefined : kind });
  return { name, learned, unseen };
}

async function cloudsIn(folder: string, points: number): Promise<Omit<CloudSample, 'defect'>[]> {
  const files = (await readdir(folder)).filter(isCloudFile).sort();
  const stems = files.map(stemOf);
  const found = [];
  for (const file of files) {
    found.push(await readCloud(join(folder, file), points, isOnce(stems, stemOf(file)) ? undefined : file));
  }
  return found;
}

const isOnce = (names: readonly string[], name: string) => names.indexOf(name) === names.lastIndexOf(name);

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

/** Clouds to score: a file, those of a folder, or the tests of its classes, whose names begin with that of the class. */
export async function readScored(
  data: string,
  meshes: readonly string[],
  made: ShapeDataOptions,
): Promise<CloudSample[]> {
  if (data !== MADE) {
    if (!(await stat(data)).isDirectory()) return [await readCloud(data, made.points)];
    const clouds = await cloudsIn(data, made.points);
    if (clouds.length > 0) return clouds;
  }
  const classes = await readClasses(data, meshes, made);
  return classes.flatMap(({ name, unseen }) => {
    const names = unseen.map((sample) => sample.name);
    return unseen.map((sample) => {
      const own = isOnce(names, sample.name) ? sample.name : `${sample.defect ?? GOOD}-${sample.name}`;
      return { ...sample, name: own.startsWith(name) ? own : `${name}-${own}` };
    });
  });
}
