import { show } from '../check';
import { ParameterError } from '../errors';
import { type ByteSource, blobSource, bytesSource, fileSource, node, type ReadOptions } from './source';
import { urlSource } from './url';

/** What one file of weights may be opened from: texts are paths, or addresses where they begin with a scheme or in a page. */
export type SourceLike = string | URL | Blob | Uint8Array | ArrayBuffer;

const SCHEME = /^(https?|blob|data|file):/i;

/** The bytes of a path, a URL, a Blob, or bytes. */
export async function openSource(from: SourceLike, options: ReadOptions = {}): Promise<ByteSource> {
  if (typeof from === 'string') {
    if (from === '') throw new ParameterError('the path of weights must not be empty');
    if (SCHEME.test(from)) return openSource(new URL(from), options);
    return 'location' in globalThis ? openSource(new URL(from, location.href), options) : fileSource(from);
  }
  if (from instanceof URL)
    return from.protocol === 'file:' ? fileSource(node('node:url').fileURLToPath(from)) : urlSource(from, options);
  if (from instanceof Blob) return blobSource(from);
  if (from instanceof Uint8Array || Object.prototype.toString.call(from) === '[object ArrayBuffer]')
    return bytesSource(from);
  throw new ParameterError(`weights must be opened from a path, a URL, a Blob or bytes, got ${show(from)}`);
}
