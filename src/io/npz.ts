/** NumPy's archives of named arrays: a zip with one npy file per array. */

import { zipSync } from 'fflate';
import { checkBoolean, checkOptions, show } from '../check';
import { ParameterError, ParseError } from '../errors';
import type { HostTensor } from '../tensor/host';
import { checkTensors, type FileBytes, fileBytes, quote } from './bytes';
import { checkNpyLength, parseNpy, writeNpy } from './npy';
import { unzip } from './zip';

const SUFFIX = '.npy';
/** The first date of zip, which stores local time: these are the same bytes everywhere. */
const EPOCH = new Date(1980, 0, 1);

export interface ReadNpzOptions {
  /** The most bytes that all arrays may decompress to. Default: 256 MiB or 32 times the file, whichever is more. */
  readonly maxBytes?: number | undefined;
}

/**
 * The arrays of an `.npz` file by name, compressed or not. Throws a ParseError that names the entry: before decompressing
 * it where its declared size is too large, at its first bytes where its array's header tells another, and while doing so
 * where it gives more than it declares.
 */
export function readNpz(file: FileBytes, options: ReadNpzOptions = {}): Record<string, HostTensor> {
  checkOptions('readNpz', options, ['maxBytes']);
  const { maxBytes } = options;
  const bytes = fileBytes(file, 'npz');
  const limit = maxBytes === undefined ? Math.max(2 ** 28, 32 * bytes.length) : maxBytes;
  if (!(typeof limit === 'number' && limit >= 0))
    throw new ParameterError(`maxBytes must be a number >= 0, got ${show(maxBytes)}`);
  const tensors = new Map<string, HostTensor>();
  for (const [entry, content] of unzip(bytes, limit, checkNpyLength)) {
    const name = entry.endsWith(SUFFIX) ? entry.slice(0, -SUFFIX.length) : entry;
    if (tensors.has(name)) throw new ParseError(`npz: two entries hold ${quote(name)}`);
    tensors.set(name, parseNpy(content, `npz entry ${quote(entry)}`));
  }
  return Object.fromEntries(tensors);
}

/** An `.npz` file of `tensors`, uncompressed unless `compress` is set; the same tensors give the same bytes. */
export function writeNpz(
  tensors: Readonly<Record<string, HostTensor>>,
  options: { readonly compress?: boolean | undefined } = {},
): Uint8Array {
  checkOptions('writeNpz', options, ['compress']);
  const { compress = false } = options;
  checkBoolean('compress', compress);
  const entries = checkTensors(tensors);
  checkZipLimits(entries);
  const files = entries.map(([name, tensor]) => [`${name}${SUFFIX}`, writeNpy(tensor)] as const);
  return zipSync(Object.fromEntries(files), { level: compress ? 6 : 0, mtime: EPOCH });
}

/** Throws unless a zip without 64-bit extension can hold the tensors. */
function checkZipLimits(entries: readonly (readonly [name: string, tensor: HostTensor])[]): void {
  if (entries.length > 0xffff) throw new ParameterError(`npz holds up to 65535 tensors, got ${entries.length}`);
  let total = 0;
  for (const [name, { data, shape }] of entries) {
    const nameBytes = new TextEncoder().encode(name + SUFFIX).length;
    if (nameBytes > 0xffff) throw new ParameterError(`npz holds names of up to 65535 bytes, got ${nameBytes}`);
    // Room for two zip headers and one npy header, and for deflate where it cannot compress.
    total += data.byteLength * 1.001 + 2 * nameBytes + 20 * shape.length + 300;
  }
  if (total > 0xffffffff)
    throw new ParameterError(`npz holds up to 4 GiB, got ${Math.ceil(total)} bytes: use safetensors`);
}
