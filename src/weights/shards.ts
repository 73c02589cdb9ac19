/** Weights in several files, with an index that says which tensor is in which. */
import { isRecord, show } from '../check';
import { ParseError } from '../errors';
import { quote } from '../io/bytes';
import type { AddressOptions } from './cache';
import type { Folder } from './folder';
import type { ByteSource, ReadOptions } from './source';
import type { StoredTensor, WeightFile } from './stored';

/** An index of this size has a million names. */
const LARGEST_INDEX = 10 ** 8;

/** JSON in a file, an object. */
export async function readJson(source: ByteSource, most: number, options: ReadOptions) {
  if (source.size > most) throw new ParseError(`${source.name} has ${source.size} bytes, expected at most ${most}`);
  const bytes = await source.read(0, source.size, options);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ParseError(`${source.name} is not JSON: ${(error as Error).message}`);
  }
  if (!isRecord(value)) throw new ParseError(`${source.name} must hold a JSON object, got ${show(value)}`);
  return value;
}

/** What an index says: names of tensors by the file that they are in. */
async function readIndex(source: ByteSource, options: ReadOptions): Promise<Map<string, Set<string>>> {
  const { weight_map: map } = await readJson(source, LARGEST_INDEX, options);
  if (!isRecord(map))
    throw new ParseError(`${source.name}: weight_map must hold files by the names of tensors, got ${show(map)}`);
  const files = new Map<string, Set<string>>();
  for (const [name, file] of Object.entries(map)) {
    // Plain names: a hostile index shall not lead out of its folder.
    if (typeof file !== 'string' || !/^[\w-][\w.-]*$/.test(file))
      throw new ParseError(`${source.name}: tensor ${quote(name)} must be in a file of this folder, got ${show(file)}`);
    const names = files.get(file) ?? new Set();
    files.set(file, names.add(name));
  }
  if (files.size === 0) throw new ParseError(`${source.name} lists no tensors`);
  return files;
}

/** The tensors of all files that an index names; `read` is given each of them. */
export async function readShards(
  index: ByteSource,
  folder: Folder,
  read: (source: ByteSource) => Promise<WeightFile>,
  options: AddressOptions,
): Promise<WeightFile> {
  const listed = await readIndex(index, options);
  // All of them come to an end, so that whoever opened them can close them.
  const settled = await Promise.allSettled(
    [...listed].map(async ([file, names]) => {
      const source = await folder.open(file, options);
      return { file, names, shard: source && (await read(source)) };
    }),
  );
  const opened = settled.map((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value;
  });
  const missing = opened.flatMap(({ file, shard }) => (shard ? [] : [file]));
  if (missing.length > 0)
    throw new ParseError(
      `${folder.name} lacks ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''} of the ${opened.length} shards in ${index.name}`,
    );
  const tensors = new Map<string, StoredTensor>();
  const metadata: Record<string, unknown> = {};
  const shards = opened as readonly { file: string; names: Set<string>; shard: WeightFile }[];
  for (const { file, names, shard } of shards) {
    checkShard(index.name, file, names, shard, listed);
    for (const name of names) tensors.set(name, shard.tensors.get(name) as StoredTensor);
    Object.assign(metadata, shard.metadata);
  }
  const [{ shard: first }] = shards as [(typeof shards)[0]];
  return { format: first.format, tensors, metadata };
}

/** Throws unless a shard has just the tensors that the index says. */
function checkShard(
  index: string,
  file: string,
  names: ReadonlySet<string>,
  { tensors }: WeightFile,
  listed: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  const ofAnother = 'the shard is of another model, or the index';
  const absent = [...names].find((name) => !tensors.has(name));
  if (absent !== undefined) throw new ParseError(`${index}: ${file} has no tensor ${quote(absent)}: ${ofAnother}`);
  const more = [...tensors.keys()].find((name) => !names.has(name));
  if (more === undefined) return;
  const [other] = [...listed].find(([, each]) => each.has(more)) ?? [];
  throw new ParseError(
    other === undefined
      ? `${index}: ${file} has a tensor ${quote(more)} that the index does not list: ${ofAnother}`
      : `${index}: tensor ${quote(more)} is in ${file} and in ${other}`,
  );
}
