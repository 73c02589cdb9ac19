/** Opens weights, whatever file or folder they are in. */
import { checkBoolean, checkOptions, show } from '../check';
import { ParameterError } from '../errors';
import { checkControl } from '../ops/check';
import { type AddressOptions, addressSource } from './cache';
import { type Folder, filesFolder, mainFile, pathFolder, urlFolder } from './folder';
import { recognise, TELLING } from './recognise';
import { readSafetensorsHeader } from './safetensors';
import { readJson, readShards } from './shards';
import { type ByteSource, blobSource, bytesSource, fileSource, node, unreadable } from './source';
import type { ReaderOptions, WeightFile } from './stored';
import { Weights } from './weights';

/**
 * What weights are opened from: a path of a file or folder (Node), an address of a file or, if it ends with a slash, of a
 * folder, a Blob or File, the Files of a folder, or bytes.
 */
export type WeightsLike = string | URL | Blob | readonly File[] | Uint8Array | ArrayBuffer;

export interface OpenWeightsOptions extends AddressOptions {}

type Reader = (source: ByteSource, options: ReaderOptions) => Promise<WeightFile>;

const READERS: Readonly<Record<WeightFile['format'], Reader>> = {
  safetensors: readSafetensorsHeader,
  gguf: async (...given) => (await import('./gguf')).readGguf(...given),
  pytorch: async (...given) => (await import('./pytorch')).readPytorch(...given),
};

const INDEX = '.index.json';
const CONFIG = 'config.json';
const LARGEST_CONFIG = 2 ** 24;
const SCHEME = /^(https?|blob|data|file):/i;

/**
 * Weights in safetensors, alone or in shards that `model.safetensors.index.json` lists, GGUF, or a checkpoint of PyTorch. The
 * content tells the format, whatever the file is called. Names, types and extents are known at once; elements are read by
 * ranges when they are asked for, so that files larger than memory open in milliseconds.
 *
 * @throws {ParseError} naming the file, and what is wrong with it or what it is instead: a web page, a Git LFS pointer, an
 * archive; shards that are missing or of another model; a folder that was not written whole
 * @throws {ParameterError} a folder without weights, or an address that the server does not give
 */
export async function openWeights(from: WeightsLike, options: OpenWeightsOptions = {}): Promise<Weights> {
  checkOptions('openWeights', options, ['signal', 'cache']);
  checkControl(options);
  checkBoolean('cache', options.cache);
  const opened: ByteSource[] = [];
  const keep = (source: ByteSource) => {
    opened.push(source);
    return source;
  };
  try {
    const place = await locate(from, options);
    const { name, source, beside, isFolder } = place;
    const folder = beside && (async () => keeping(await beside(), keep));
    const file = source.name.endsWith(INDEX)
      ? await ofIndex(source, folder, options)
      : await readFile(keep(source), folder, options);
    const config = isFolder && beside ? await configIn(await beside(), options) : undefined;
    return new Weights(name, file, opened, config, beside);
  } catch (error) {
    await Promise.all(opened.map((source) => source.close()));
    throw error;
  }
}

type FolderThere = (() => Promise<Folder>) | undefined;

/** The files of a folder, each of which is kept open. */
const keeping = (folder: Folder, keep: (source: ByteSource) => ByteSource): Folder => ({
  ...folder,
  open: async (file, options) => {
    const source = await folder.open(file, options);
    return source && keep(source);
  },
});

/** The tensors of a file, in the format that its content tells. */
async function readFile(source: ByteSource, folder: FolderThere, options: AddressOptions): Promise<WeightFile> {
  const beginning = await source.read(0, Math.min(TELLING, source.size), options);
  const format = recognise(source.name, beginning, source.size);
  return READERS[format](source, {
    ...options,
    beside: folder && (async (file) => (await folder()).open(file, options)),
  });
}

async function ofIndex(index: ByteSource, folder: FolderThere, options: AddressOptions): Promise<WeightFile> {
  try {
    if (!folder) throw new ParameterError(`${index.name} lists shards: open the folder that it is in, with all files`);
    return await readShards(index, await folder(), (source) => readFile(source, folder, options), options);
  } finally {
    await index.close();
  }
}

async function configIn(folder: Folder, options: AddressOptions) {
  const source = await folder.open(CONFIG, options);
  if (!source) return undefined;
  try {
    return await readJson(source, LARGEST_CONFIG, options);
  } finally {
    await source.close();
  }
}

/** Where weights are. */
interface Place {
  readonly name: string;
  /** The file, or the index of several. */
  readonly source: ByteSource;
  /** The folder that it is in, if it is known. */
  readonly beside?: () => Promise<Folder>;
  /** Whether this folder was asked for, and not the file in it. */
  readonly isFolder: boolean;
}

async function locate(from: WeightsLike, options: AddressOptions): Promise<Place> {
  if (Array.isArray(from) && from.length > 0 && [...from].every((each) => each instanceof File))
    return inFolder(filesFolder(from), options);
  if (typeof from === 'string') return locateText(from, options);
  if (from instanceof URL) return locateAddress(from, options);
  const source = sourceIn(from);
  return { name: source.name, source, isFolder: false };
}

function sourceIn(from: unknown): ByteSource {
  if (from instanceof Blob) return blobSource(from);
  if (from instanceof Uint8Array || Object.prototype.toString.call(from) === '[object ArrayBuffer]')
    return bytesSource(from as Uint8Array | ArrayBuffer);
  throw new ParameterError(
    `weights must be opened from a path, a URL, a Blob, a list of Files or bytes, got ${show(from)}`,
  );
}

async function locateText(text: string, options: AddressOptions): Promise<Place> {
  if (text === '') throw new ParameterError('the path to open weights from must not be empty');
  if (SCHEME.test(text)) return locateAddress(new URL(text), options);
  if (!globalThis.process?.getBuiltinModule) return locateAddress(new URL(text, location.href), options);
  const stats = await node('node:fs/promises').stat(text).catch(unreadable(text));
  if (stats.isDirectory()) return inFolder(await pathFolder(text), options);
  const source = await fileSource(text);
  return { name: text, source, beside: () => pathFolder(node('node:path').dirname(text)), isFolder: false };
}

async function locateAddress(address: URL, options: AddressOptions): Promise<Place> {
  if (address.protocol === 'file:') return locateText(node('node:url').fileURLToPath(address), options);
  if (address.pathname.endsWith('/')) return inFolder(urlFolder(address), options);
  const source = await addressSource(address, options);
  return { name: address.href, source, beside: async () => urlFolder(address), isFolder: false };
}

async function inFolder(folder: Folder, options: AddressOptions): Promise<Place> {
  const source = await mainFile(folder, options);
  return { name: folder.name, source, beside: async () => folder, isFolder: true };
}
