import { checkArray, checkChoice, checkOptions, checkRecord, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import { quote } from '../io/bytes';
import { checkControl } from '../ops/check';
import type { Control } from '../runtime/backend';
import type { HostDType } from '../tensor/dtype';
import { convert, HOST_DTYPES, type HostTensor } from '../tensor/host';
import { sizeOf } from '../tensor/shape';
import { describesItself } from '../text/inspect';
import { CHUNK } from './cache';
import {
  type Blocks,
  checkFits,
  type ElementOptions,
  isBlockType,
  readable,
  readBlocks,
  readElements,
} from './elements';
import type { Folder } from './folder';
import { isSelected } from './select';
import { sha256 as startHash } from './sha256';
import type { ByteSource, ReadOptions } from './source';
import type { ReadableTensor, StoredTensor, WeightFile } from './stored';

export interface ReadTensorOptions<D extends HostDType = HostDType> extends ElementOptions {
  /** Default: as stored, and f32 where that is quantised. */
  readonly dtype?: D | undefined;
}

export interface DownloadOptions extends Control {
  /** The SHA-256 of files in hexadecimal, by the names that they have in their folder; default: not known. */
  readonly sha256?: Readonly<Record<string, string>> | undefined;
}

/** What is read of a file to tell weights apart. */
const IDENTITY_PARTS = 16;
const IDENTITY_BYTES = 2 ** 16;

/** The name of a file in its folder, from its path or address. */
const lastOf = (name: string) =>
  name
    .replace(/[?#].*$/, '')
    .split(/[\\/]/)
    .at(-1) as string;

const LARGEST_BESIDE = 2 ** 28;

const asyncDisposeKey: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

/** Weights in files: what there is is known, elements are read when they are asked for. Made by `openWeights()`; close it in the end. */
export class Weights implements WeightFile {
  /** For messages: the path or address of its file or folder. */
  readonly name: string;
  readonly format: WeightFile['format'];
  /** Types, extents and places by name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** What config.json of the folder says, or the metadata of a GGUF file. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  readonly #sources: readonly ByteSource[];
  readonly #folder: (() => Promise<Folder>) | undefined;

  constructor(
    name: string,
    { format, tensors, metadata, config }: WeightFile,
    sources: readonly ByteSource[],
    beside?: Readonly<Record<string, unknown>>,
    folder?: () => Promise<Folder>,
  ) {
    this.name = name;
    this.format = format;
    this.tensors = tensors;
    this.metadata = metadata;
    this.config = beside ?? config;
    this.#sources = sources;
    this.#folder = folder;
  }

  toString(): string {
    return `Weights(${this.tensors.size} tensors in ${this.name})`;
  }

  /** The files that they are in, by their names, with their sizes in bytes. */
  get files(): readonly Pick<ByteSource, 'name' | 'size'>[] {
    return this.#sources.map(({ name, size }) => ({ name, size }));
  }

  /** The names that begin with `pattern`; or, if it has `*` (any characters) or `?` (one), those that are as it says. */
  select(pattern: string): string[] {
    if (typeof pattern !== 'string') throw new ParameterError(`pattern must be a string, got ${show(pattern)}`);
    return [...this.tensors.keys()].filter((name) => isSelected(name, pattern));
  }

  /**
   * The elements of a tensor.
   *
   * @throws {ParameterError} a name that it does not have; more than the heap holds, before anything is read
   * @throws {ParseError} a type that is not read, a file that is shorter than it was, scales that are infinite or not a number
   */
  async read<D extends HostDType = HostDType>(
    name: string,
    options: ReadTensorOptions<D> = {},
  ): Promise<HostTensor<D>> {
    checkOptions('read', options, ['dtype', 'rows', 'signal']);
    const tensor = this.#tensor(name, options);
    const { dtype, rows } = options;
    checkChoice('dtype', dtype, HOST_DTYPES);
    const own = isBlockType(tensor.type) ? 'f32' : tensor.type;
    const [count = 1, ...inner] = tensor.shape;
    const elements = (rows ? rows[1] - rows[0] : count) * sizeOf(inner);
    const label = `${this.name}: ${quote(name)}`;
    checkFits(label, elements, own);
    checkFits(label, elements, dtype ?? own, [own]);
    const host = await readElements(tensor, options);
    return (dtype === undefined ? host : convert(host, dtype)) as HostTensor<D>;
  }

  /**
   * The blocks of a quantised tensor, as they are in the file.
   *
   * @throws {ParameterError} a name that it does not have, or whose tensor is not quantised
   */
  async readBlocks(name: string, options: ElementOptions = {}): Promise<Blocks> {
    checkOptions('readBlocks', options, ['rows', 'signal']);
    return readBlocks(this.#tensor(name, options), options);
  }

  /**
   * A small file beside the weights, whole, such as `tokenizer.json`; undefined where there is none, or nothing is beside them.
   *
   * @throws {ParseError} a file above 256 MiB
   */
  async readBeside(file: string, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    checkOptions('readBeside', options, ['signal']);
    checkControl(options);
    if (typeof file !== 'string') throw new ParameterError(`file must be a string, got ${show(file)}`);
    const source = await (await this.#folder?.())?.open(file, options);
    if (!source) return undefined;
    try {
      if (source.size > LARGEST_BESIDE)
        throw new ParseError(`${source.name} has ${source.size} bytes, expected at most ${LARGEST_BESIDE}`);
      return await source.read(0, source.size, options);
    } finally {
      await source.close();
    }
  }

  /**
   * Reads all files once, so that the cache of a page has them, and holds them to their lengths and hashes. What was aborted
   * or broken off goes on where it was the next time.
   *
   * @throws {ParseError} a file whose hash is another, which the cache then forgets
   */
  async download(options: DownloadOptions = {}): Promise<void> {
    checkOptions('download', options, ['sha256', 'signal', 'onProgress']);
    checkControl(options);
    const { sha256 = {}, signal, onProgress } = options;
    checkRecord('sha256', sha256);
    const names = this.#sources.map(({ name }) => lastOf(name));
    for (const [name, hash] of Object.entries(sha256))
      if (!names.includes(name) || !/^[0-9a-f]{64}$/i.test(String(hash)))
        throw new ParameterError(
          `sha256 must have 64 hexadecimal digits by the names of files, ${names.join(', ')}, got ${show(hash)} of ${show(name)}`,
        );
    const whole = this.#sources.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    for (const source of this.#sources) {
      const expected = sha256[lastOf(source.name)]?.toLowerCase();
      const hash = expected === undefined ? undefined : startHash();
      for (let at = 0; at < source.size; at += CHUNK) {
        const bytes = await source.read(at, Math.min(at + CHUNK, source.size), { signal });
        hash?.update(bytes);
        done += bytes.length;
        onProgress?.(done / whole);
      }
      const found = hash?.digest('hex');
      if (found === expected) continue;
      await source.forget?.();
      throw new ParseError(
        `${source.name} has the SHA-256 ${found}, expected ${expected}: it was damaged or is another`,
      );
    }
  }

  /**
   * A name for these weights, which others do not have: the SHA-256 of the sizes of their files and of the first 64 KiB of
   * sixteen parts of each.
   */
  async identity({ signal }: ReadOptions = {}): Promise<string> {
    const hash = startHash();
    for (const source of this.#sources) {
      hash.update(new TextEncoder().encode(`${source.size};`));
      for (let part = 0; part < IDENTITY_PARTS; part++) {
        const first = Math.floor((part * source.size) / IDENTITY_PARTS);
        hash.update(await source.read(first, Math.min(first + IDENTITY_BYTES, source.size), { signal }));
      }
    }
    return hash.digest('hex');
  }

  /** Closes its files; nothing can be read any more. */
  async close(): Promise<void> {
    await Promise.all(this.#sources.map((source) => source.close()));
  }

  [asyncDisposeKey](): Promise<void> {
    return this.close();
  }

  #tensor(name: string, options: ElementOptions): ReadableTensor {
    checkControl(options);
    const { rows } = options;
    if (typeof name !== 'string') throw new ParameterError(`name must be a string, got ${show(name)}`);
    if (rows !== undefined) checkArray('rows', rows);
    const tensor = this.tensors.get(name);
    if (!tensor) throw new ParameterError(`${this.name} has no tensor ${quote(name)}`);
    return readable(tensor);
  }
}
describesItself(Weights, 'Weights');
