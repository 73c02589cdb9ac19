/** Files that belong together: of a folder, of an address, or chosen in a page. */
import { ParameterError, ParseError } from '../errors';
import { type AddressOptions, addressSource } from './cache';
import { type ByteSource, blobSource, fileSource, node } from './source';
import { isMissing } from './url';

export interface Folder {
  /** For messages. */
  readonly name: string;
  /** The names of its files, in order; undefined where they cannot be listed, on a server. */
  readonly files?: readonly string[] | undefined;
  /** The file of a name, or undefined where there is none. */
  open(file: string, options?: AddressOptions): Promise<ByteSource | undefined>;
}

/** A folder of the file system (Node). */
export async function pathFolder(path: string): Promise<Folder> {
  const { readdir } = node('node:fs/promises');
  const { join } = node('node:path');
  const files = (await readdir(path)).sort();
  return {
    name: path,
    files,
    open: async (file) => (files.includes(file) ? fileSource(join(path, file)) : undefined),
  };
}

/** The files beside an address, or below one that ends with a slash. */
export function urlFolder(address: URL): Folder {
  const base = new URL('.', address);
  return {
    name: base.href,
    open: (file, options) =>
      addressSource(new URL(encodeURIComponent(file), base), options).catch((error) => {
        if (isMissing(error)) return undefined;
        throw error;
      }),
  };
}

/** Files that a user chose in a page. */
export function filesFolder(files: readonly File[]): Folder {
  return {
    name: 'the files',
    files: files.map(({ name }) => name).sort(),
    async open(file) {
      const found = files.find(({ name }) => name === file);
      return found && blobSource(found);
    },
  };
}

/** Which file of a folder has the weights, the first of these that is there. */
const MAIN = [
  /^model\.safetensors\.index\.json$/,
  /\.safetensors\.index\.json$/,
  /^model\.safetensors$/,
  /\.safetensors$/,
  /\.gguf$/,
  /\.bin\.index\.json$/,
  /^pytorch_model\.bin$/,
  /\.(bin|pt|pth|pth\.tar)$/,
];
/** Asked for where files cannot be listed. */
const USUAL = ['model.safetensors.index.json', 'model.safetensors'];
/** How files that were split are called. */
const SHARD = /-(\d+)-of-\d+\.(safetensors|bin|gguf)$/;
/** The first of the files that one GGUF file was split into leads to the others. */
const isLaterPart = (file: string) => file.endsWith('.gguf') && Number(SHARD.exec(file)?.[1] ?? 1) > 1;
/** What a file is called until it is whole. */
export const UNFINISHED = '.unfinished';

/**
 * The file of a folder that has its weights, or the index of those that do.
 *
 * @throws {ParseError | ParameterError} a folder that has none, several, or was not written whole
 */
export async function mainFile(folder: Folder, options: AddressOptions): Promise<ByteSource> {
  for (const file of folder.files ? [mainOf(folder.name, folder.files)] : USUAL) {
    const source = await folder.open(file, options);
    if (source) return source;
  }
  throw new ParameterError(`${folder.name} has no weights: expected ${USUAL.join(' or ')}`);
}

function mainOf(name: string, files: readonly string[]): string {
  for (const pattern of MAIN) {
    const [first, second] = files.filter((file) => pattern.test(file) && !isLaterPart(file));
    if (first === undefined) continue;
    if (SHARD.test(first) && !first.endsWith('.gguf'))
      throw new ParseError(`${name} has ${first} but no index of such shards: it was not written or downloaded whole`);
    if (second === undefined) return first;
    throw new ParameterError(`${name} has several files of weights, such as ${first} and ${second}: name one of them`);
  }
  const unfinished = files.find((file) => file.endsWith(UNFINISHED));
  if (unfinished !== undefined) throw new ParseError(`${name} was not written whole: ${unfinished} is in it`);
  throw new ParameterError(
    `${name} has no weights: expected safetensors, GGUF or a checkpoint of PyTorch, got ${files.slice(0, 5).join(', ') || 'an empty folder'}`,
  );
}
