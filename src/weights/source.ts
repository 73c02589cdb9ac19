/** Bytes that are read by ranges: of a file, an address, or memory. */
import { ParameterError, ParseError, UnsupportedError } from '../errors';

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Something that has bytes, of which any range can be read. */
export interface ByteSource {
  /** For messages: a path, an address, a file's name. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /**
   * The bytes from `start` to `end` (exclusive), not to be written to: they may be the source's own memory.
   *
   * @throws {ParseError} that names the source, where it has no such bytes
   */
  read(start: number, end: number, options?: ReadOptions): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
  /** Drops what a cache keeps of it, where one does. */
  forget?(): Promise<void>;
}

/** Bytes in memory. */
export function bytesSource(bytes: Uint8Array | ArrayBuffer, name = 'the bytes'): ByteSource {
  const view = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  const own = (
    view.buffer instanceof ArrayBuffer ? new Uint8Array(view.buffer, view.byteOffset, view.length) : view.slice()
  ) as Uint8Array<ArrayBuffer>;
  return sourceOf(name, own.length, async (start, end) => own.subarray(start, end));
}

/** A Blob, such as a File that a user chose. */
export function blobSource(blob: Blob, name = 'name' in blob ? String(blob.name) : 'the Blob'): ByteSource {
  return sourceOf(name, blob.size, async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()));
}

/** The most that Node reads at once. */
const LARGEST_READ = 2 ** 30;

/** Throws what the file system said of a path. */
export function unreadable(path: string): (error: Error) => never {
  return (error) => {
    // Such as `ENOENT: no such file or directory, open 'x'`.
    const [, reason = error.message] = /^\w+: (.*?), /.exec(error.message) ?? [];
    throw new ParameterError(`cannot read weights from '${path}': ${reason}`, { cause: error });
  };
}

/** A file of the file system (Node). */
export async function fileSource(path: string): Promise<ByteSource> {
  const { open } = node('node:fs/promises');
  const file = await open(path).catch(unreadable(path));
  const stats = await file.stat();
  if (!stats.isFile()) {
    await file.close();
    throw new ParameterError(`cannot read weights from '${path}': expected a file, which can be read by ranges`);
  }
  const read = async (start: number, end: number, { signal }: ReadOptions) => {
    const bytes = new Uint8Array(end - start);
    let filled = 0;
    while (filled < bytes.length) {
      signal?.throwIfAborted();
      const length = Math.min(bytes.length - filled, LARGEST_READ);
      const { bytesRead } = await file.read(bytes, filled, length, start + filled);
      if (bytesRead === 0) return bytes.subarray(0, filled);
      filled += bytesRead;
    }
    return bytes;
  };
  return { ...sourceOf(path, stats.size, read), close: () => file.close() };
}

/** A source from what reads a range of it, which may give less where it has less. */
export function sourceOf(
  name: string,
  size: number,
  read: (start: number, end: number, options: ReadOptions) => Promise<Uint8Array<ArrayBuffer>>,
): ByteSource {
  return {
    name,
    size,
    async read(start, end, options = {}) {
      options.signal?.throwIfAborted();
      if (!(start >= 0 && start <= end && end <= size))
        throw new ParseError(`${name}: expected bytes ${start} to ${end}, it has ${size}`);
      const bytes = await read(start, end, options);
      options.signal?.throwIfAborted();
      if (bytes.length !== end - start)
        throw new ParseError(
          `${name}: bytes ${start} to ${end} were asked for, ${bytes.length} came: it was cut short`,
        );
      return bytes;
    },
    async close() {},
  };
}

type Builtins = {
  'node:fs/promises': typeof import('node:fs/promises');
  'node:path': typeof import('node:path');
  'node:url': typeof import('node:url');
};

/** A module of Node's; elsewhere an error. */
export function node<Name extends keyof Builtins>(name: Name): Builtins[Name] {
  const module = globalThis.process?.getBuiltinModule?.(name);
  if (module) return module as unknown as Builtins[Name];
  throw new UnsupportedError('there are no files to open by their path here: give an address, a Blob or bytes');
}
