/** Labelled pictures of a folder: IDX files as MNIST has them, safetensors, or folders of pictures, one a class. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { labelled, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { readSafetensors } from '../io';
import { readIdx } from '../io/idx';
import { decodePicture } from '../pictures/decode';
import { cropTo } from '../pictures/picture';
import { convert, type HostTensor } from '../tensor/host';
import { formatShape, sizeOf } from '../tensor/shape';
import { type LabelledPictures, splitPictures } from '../train/pictures';
import { MOST_BYTES, readBytes, readText } from './read-tensors';

/** Pictures to learn from, and others to test with; classes by name where folders have them. */
export interface PictureData {
  readonly learned: LabelledPictures;
  readonly unseen: LabelledPictures;
  readonly classes?: readonly string[] | undefined;
}

/** The parts of a data set: names of IDX files begin with the first, safetensors and folders have the second. */
const PARTS = [
  { idx: 'train', name: 'train' },
  { idx: 't10k', name: 'test' },
] as const;
type Part = (typeof PARTS)[number];
/** The share of pictures that is not learned from where no part is for tests: every tenth. */
const UNSEEN = 10;
/** Where the names of classes may be, a line each. */
const CLASSES = 'classes.txt';
const PICTURE = /\.(png|jpe?g|webp)$/i;
/** What compressed IDX files may become, against bombs. */
const MOST_INFLATED = 2 ** 31 - 1;

/**
 * The pictures of a folder with `train-images-idx3-ubyte` and the three files that go with it (or `.gz`), with
 * `train.safetensors` and `test.safetensors` (`x [n, rows, columns]` or `[n, channels, rows, columns]`, u8 or from 0 to 1,
 * and `y [n]`), or with a folder of PNG, JPEG and WebP files for each class, also in `train` and `test`; these get `size`, or that of
 * the first.
 */
export async function readPictures(folder: string, size?: readonly number[]): Promise<PictureData> {
  const names = (await readdir(folder)).sort();
  const read = names.some((name) => /^train-images/.test(name))
    ? (part: Part) => readIdxPart(folder, names, part)
    : names.includes('train.safetensors')
      ? ({ name }: Part) => readSafetensorsPart(join(folder, `${name}.safetensors`))
      : undefined;
  if (read) {
    const said = names.includes(CLASSES) ? await readText(join(folder, CLASSES)) : undefined;
    return { ...(await bothParts(read)), classes: said?.text.trim().split(/\r?\n/) };
  }
  if (PARTS.every(({ name }) => names.includes(name))) return readFolders(folder, size);
  const classes = await classesIn(folder);
  if (classes.length < 2)
    throw new ParameterError(
      `${folder} must have train-images-idx3-ubyte, train.safetensors or folders of pictures, one a class, got ${show(names.slice(0, 3))}`,
    );
  const { pictures } = await readClasses(folder, classes, size);
  return { ...splitPictures(pictures, UNSEEN), classes };
}

async function bothParts(read: (part: Part) => Promise<LabelledPictures>): Promise<PictureData> {
  const [learned, unseen] = [await read(PARTS[0]), await read(PARTS[1])];
  if (learned.shape.slice(1).join() !== unseen.shape.slice(1).join())
    throw new ParameterError(
      `pictures to test with must be as large as those to learn from, ${formatShape(learned.shape.slice(1))}, got ${formatShape(unseen.shape.slice(1))}`,
    );
  return { learned, unseen };
}

async function readIdxPart(folder: string, names: readonly string[], { idx }: Part): Promise<LabelledPictures> {
  const read = async (what: string) => {
    const file = names.find((name) => new RegExp(`^${idx}-${what}[.-]idx\\d-ubyte(\\.gz)?$`).test(name));
    if (!file) throw new ParameterError(`${folder} has no ${idx}-${what}-ubyte: the four files of MNIST go together`);
    const path = join(folder, file);
    const bytes = await readBytes(path);
    return readIdx(path, file.endsWith('.gz') ? await inflated(path, bytes) : bytes);
  };
  const [pictures, classes] = [await read('images'), await read('labels')];
  const [count = 0, rows = 0, columns = 0] = pictures.shape;
  if (pictures.shape.length !== 3 || sizeOf(pictures.shape) === 0)
    throw new ParseError(
      `${idx}-images of ${folder} must have shape [n, rows, columns], got ${formatShape(pictures.shape)}`,
    );
  if (classes.data.length !== count)
    throw new ParseError(
      `${idx}-labels of ${folder} must be ${count}, one for each picture, got ${classes.data.length}`,
    );
  return { shape: [count, rows, columns, 1], pixels: pictures.data, labels: Int32Array.from(classes.data) };
}

async function inflated(path: string, bytes: Uint8Array): Promise<Uint8Array> {
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: MOST_INFLATED });
  } catch (error) {
    throw new ParseError(`${path} cannot be decompressed: ${(error as Error).message}`);
  }
}

async function readSafetensorsPart(path: string): Promise<LabelledPictures> {
  let tensors: Record<string, HostTensor>;
  try {
    tensors = readSafetensors(await readBytes(path));
  } catch (error) {
    throw error instanceof ParseError ? labelled(path, error) : error;
  }
  const { x, y } = tensors;
  if (!x || !y) throw new ParameterError(`${path} must have tensors x and y, got ${Object.keys(tensors).join(', ')}`);
  const [count = 0, ...rest] = x.shape;
  const [rows = 0, columns = 0] = rest.slice(-2);
  const channels = rest.length === 3 ? (rest[0] as number) : 1;
  if (rest.length < 2 || rest.length > 3 || sizeOf(x.shape) === 0)
    throw new ParameterError(
      `x of ${path} must have shape [n, rows, columns] or [n, channels, rows, columns], got ${formatShape(x.shape)}`,
    );
  if (y.dtype !== 'i32' || formatShape(y.shape) !== formatShape([count]))
    throw new ParameterError(
      `y of ${path} must be i32 [${count}], a class for each picture, got ${y.dtype} ${formatShape(y.shape)}`,
    );
  const isBytes = x.dtype === 'u8';
  const scale = isBytes ? 1 : 255;
  const data = (isBytes ? x : convert(x, 'f32')).data as Uint8Array | Float32Array;
  const strange = isBytes ? -1 : data.findIndex((value) => !(value >= 0 && value <= 1));
  if (strange >= 0)
    throw new ParameterError(
      `x of ${path} must be u8, or numbers from 0 to 1, got ${data[strange]} in picture ${Math.floor((strange * count) / data.length)}`,
    );
  const pixels = new Uint8Array(data.length);
  const area = rows * columns;
  for (let at = 0; at < pixels.length; at++) {
    const [place, channel, picture] = [at % area, Math.floor(at / area) % channels, Math.floor(at / (area * channels))];
    pixels[(picture * area + place) * channels + channel] = Math.round(scale * (data[at] as number));
  }
  return { shape: [count, rows, columns, channels], pixels, labels: y.data as Int32Array };
}

/** The folders in a folder, which are classes. */
async function classesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

/** Folders of classes in those of both parts. */
async function readFolders(folder: string, size: readonly number[] | undefined): Promise<PictureData> {
  const [train, test] = PARTS.map(({ name }) => join(folder, name)) as [string, string];
  const classes = await classesIn(train);
  const learned = await readClasses(train, classes, size);
  const others = (await classesIn(test)).filter((name) => !classes.includes(name));
  if (others.length > 0) throw new ParameterError(`${test} has a class ${others[0]}, which ${train} has not`);
  const unseen = await readClasses(test, classes, learned.size);
  return { learned: learned.pictures, unseen: unseen.pictures, classes };
}

/** The pictures in folders of classes, of one size. */
async function readClasses(folder: string, classes: readonly string[], given: readonly number[] | undefined) {
  let size = given;
  const pixels: Uint8Array[] = [];
  const labels: number[] = [];
  for (const [label, name] of classes.entries()) {
    const inner = join(folder, name);
    const files = await readdir(inner).catch(() => []);
    for (const file of files.filter((each) => PICTURE.test(each)).sort()) {
      const path = join(inner, file);
      const picture = await decodePicture(path, await readBytes(path, MOST_BYTES));
      size ??= [picture.height, picture.width];
      const [rows, columns] = size as [number, number];
      pixels.push(Uint8Array.from(cropTo(picture, columns, rows).rgb, (value) => Math.round(255 * value)));
      labels.push(label);
    }
  }
  if (!size || pixels.length === 0) throw new ParameterError(`${folder} has no PNG, JPEG or WebP files in its folders`);
  const [rows, columns] = size as [number, number];
  const all = new Uint8Array(pixels.length * rows * columns * 3);
  pixels.forEach((each, at) => {
    all.set(each, at * rows * columns * 3);
  });
  const pictures: LabelledPictures = {
    shape: [pixels.length, rows, columns, 3],
    pixels: all,
    labels: Int32Array.from(labels),
  };
  return { pictures, size };
}
