/** Writes weights as safetensors, in as many files as their size asks for. The folder has weights only once all are there. */
import { checkChoice, checkFunction, checkOptions, checkRecord, checkWhole, show } from '../check';
import { ParameterError } from '../errors';
import { bytesOf, checkTensorName, quote } from '../io/bytes';
import { checkMetadata, safetensorsBeginning } from '../io/safetensors';
import { checkControl } from '../ops/check';
import type { Control } from '../runtime/backend';
import { bytesPerElement, type HostDType } from '../tensor/dtype';
import { checkHost, type HostTensor } from '../tensor/host';
import { checkShape, formatShape, type Shape, sameShape, sizeOf } from '../tensor/shape';
import { type Blocks, blockShape, isBlockType, STORED_TYPES } from './elements';
import { UNFINISHED } from './folder';
import { blockMetadata } from './safetensors';
import { node } from './source';
import type { StoredType } from './stored';

/** A tensor that is read when it is written, so that no two need be in memory. */
export interface DeferredTensor {
  readonly type: StoredType;
  readonly shape: Shape;
  /** The tensor, of that type and shape. */
  read(): Promise<HostTensor | Blocks>;
}

/** What can be written: numbers, blocks, or what reads them. */
export type WritableTensor = HostTensor | Blocks | DeferredTensor;

export interface WriteWeightsOptions extends Control {
  /** Texts by name, in the metadata of each file; default: `{ format: 'pt' }`, which Hugging Face's libraries ask for. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The most bytes of tensors in a file, unless one of them has more; default: 5e9. */
  readonly shardBytes?: number | undefined;
  /** Written as config.json. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
}

interface Entry extends DeferredTensor {
  readonly name: string;
  /** As safetensors has it: blocks are bytes. */
  readonly dtype: HostDType;
  readonly stored: Shape;
  readonly byteLength: number;
}

interface Shard {
  readonly file: string;
  readonly entries: readonly Entry[];
}

/**
 * Writes tensors to a folder (Node): `model.safetensors`, or shards and `model.safetensors.index.json`, which `openWeights`
 * reads back. Files have other names until all are whole, and the index comes last. One tensor is in memory at a time.
 *
 * @throws {ParameterError} a folder that has weights; tensors that are not as they say
 */
export async function writeWeights(
  folder: string,
  tensors: Readonly<Record<string, WritableTensor>>,
  options: WriteWeightsOptions = {},
): Promise<void> {
  checkOptions('writeWeights', options, ['metadata', 'shardBytes', 'config', 'signal', 'onProgress']);
  const { metadata = { format: 'pt' }, shardBytes = 5e9, config, signal, onProgress } = options;
  checkControl(options);
  checkWhole('shardBytes', shardBytes, 1);
  checkMetadata(metadata);
  if (config !== undefined) checkRecord('config', config);
  const entries = entriesOf(tensors);
  const { mkdir, readdir, rename, rm, writeFile } = node('node:fs/promises');
  const { join } = node('node:path');
  if (typeof folder !== 'string' || folder === '')
    throw new ParameterError(`folder must be a path, got ${show(folder)}`);
  await mkdir(folder, { recursive: true });
  for (const file of await readdir(folder)) {
    if (file.endsWith(UNFINISHED)) await rm(join(folder, file));
    else if (/\.safetensors(\.index\.json)?$/.test(file))
      throw new ParameterError(`'${folder}' has ${file} already: delete it, or name another folder`);
  }
  const shards = shardsOf(entries, shardBytes);
  const unfinished = (file: string) => join(folder, `${file}${UNFINISHED}`);
  const files = shards.map(({ file }) => file);
  const whole = entries.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let written = 0;
  try {
    for (const shard of shards)
      await writeShard(unfinished(shard.file), shard, metadata, (bytes) => {
        signal?.throwIfAborted();
        written += bytes;
        onProgress?.(whole === 0 ? 1 : written / whole);
      });
    if (shards.length > 1) {
      const index = 'model.safetensors.index.json';
      await writeFile(unfinished(index), indexOf(shards, whole));
      files.push(index);
    }
    if (config) await writeFile(join(folder, 'config.json'), `${JSON.stringify(config, undefined, 2)}\n`);
    for (const file of files) await rename(unfinished(file), join(folder, file));
  } catch (error) {
    for (const file of files) await rm(unfinished(file), { force: true });
    throw error;
  }
}

/** The tensors as they are to be stored. */
function entriesOf(tensors: Readonly<Record<string, WritableTensor>>): Entry[] {
  checkRecord('tensors', tensors);
  return Object.entries(tensors).map(([name, tensor]) => {
    checkTensorName(name);
    const { type, shape, read } = deferred(name, tensor);
    const stored = isBlockType(type) ? blockShape(`tensor ${quote(name)}`, type, shape) : shape;
    const dtype = isBlockType(type) ? 'u8' : type;
    return { name, type, shape, read, stored, dtype, byteLength: sizeOf(stored) * bytesPerElement(dtype) };
  });
}

function deferred(name: string, tensor: WritableTensor): DeferredTensor {
  const label = `tensor ${quote(name)}`;
  checkRecord(label, tensor);
  if (!('type' in tensor)) {
    checkHost(label, tensor);
    return { type: tensor.dtype, shape: tensor.shape, read: async () => tensor };
  }
  const { type, shape } = tensor;
  checkChoice(`the type of ${label}`, type, STORED_TYPES);
  checkShape(`the shape of ${label}`, shape);
  if ('bytes' in tensor) {
    if (tensor.isTransposed) throw new ParameterError(`${label} must not be transposed: write its numbers`);
    return { type, shape, read: async () => tensor };
  }
  checkFunction(`read of ${label}`, tensor.read);
  return tensor;
}

/** Tensors in their order, in as few files as hold them. */
function shardsOf(entries: readonly Entry[], most: number): Shard[] {
  const shards: Entry[][] = [[]];
  let size = 0;
  for (const entry of entries) {
    if (size > 0 && size + entry.byteLength > most) {
      shards.push([]);
      size = 0;
    }
    (shards.at(-1) as Entry[]).push(entry);
    size += entry.byteLength;
  }
  const number = (at: number) => String(at).padStart(5, '0');
  return shards.map((each, at) => ({
    file: shards.length === 1 ? 'model.safetensors' : `model-${number(at + 1)}-of-${number(shards.length)}.safetensors`,
    // The larger elements first, so that all lie aligned.
    entries: each.sort((a, b) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype)),
  }));
}

async function writeShard(
  path: string,
  { entries }: Shard,
  metadata: Readonly<Record<string, string>>,
  onWritten: (bytes: number) => void,
): Promise<void> {
  const file = await node('node:fs/promises').open(path, 'w');
  try {
    const places = entries.map(({ name, dtype, stored, byteLength }) => ({ name, dtype, shape: stored, byteLength }));
    await file.writeFile(safetensorsBeginning(places, { ...metadata, ...blockMetadata(entries) }));
    for (const entry of entries) {
      await file.writeFile(await bytesToWrite(entry));
      onWritten(entry.byteLength);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The bytes of a tensor, which must be what it was said to be. */
async function bytesToWrite({ name, type, shape, byteLength, read }: Entry): Promise<Uint8Array> {
  const tensor = await read();
  const found = 'bytes' in tensor ? tensor.type : tensor.dtype;
  const bytes = 'bytes' in tensor ? tensor.bytes : bytesOf(tensor);
  if (found === type && sameShape(tensor.shape, shape) && bytes.length === byteLength) return bytes;
  throw new ParameterError(
    `tensor ${quote(name)} must be ${type} ${formatShape(shape)}, read() gave ${found} ${formatShape(tensor.shape)} of ${bytes.length} bytes`,
  );
}

function indexOf(shards: readonly Shard[], size: number): string {
  const map = shards.flatMap(({ file, entries }) => entries.map(({ name }) => [name, file] as const));
  const index = { metadata: { total_size: size }, weight_map: Object.fromEntries(map) };
  return `${JSON.stringify(index, undefined, 2)}\n`;
}
