/**
 * Files of web servers in the Cache Storage of a page, in chunks: what was fetched once is not fetched again, a later visit goes on
 * where this one ended, and what is there can be read without a network.
 */
import { isRecord } from '../check';
import { UnsupportedError } from '../errors';
import { type ByteSource, type ReadOptions, sourceOf } from './source';
import { isBrokenOff, type RemoteSource, urlSource } from './url';

const CACHE = 'saccade weights';
/** Bytes of a chunk, the last one of a file excepted. */
export const CHUNK = 2 ** 22;

/** What is known of a file without its server. */
interface Description {
  readonly size: number;
  readonly tag: string;
}

export interface AddressOptions extends ReadOptions {
  /** Whether what is fetched is kept in Cache Storage, and taken from it; default: where there is one, as in pages. */
  readonly cache?: boolean | undefined;
}

/** The file at an address. */
export function addressSource(address: URL, { cache, signal }: AddressOptions = {}): Promise<ByteSource> {
  const open = () => urlSource(address, { signal });
  const hasCache = globalThis.caches !== undefined && address.protocol.startsWith('http');
  if (cache && !hasCache)
    throw new UnsupportedError('there is no cache for weights here: pages have one, over https and on localhost');
  return (cache ?? hasCache) ? cachedSource(address, open) : open();
}

/** The file at an address, of which `open` reads what is not in the cache yet. */
async function cachedSource(address: URL, open: () => Promise<RemoteSource>): Promise<ByteSource> {
  const cache = await caches.open(CACHE).catch(() => undefined);
  if (!cache) return open();
  const store = new Store(cache, address);
  const known = await store.description();
  const remote = await open().catch((error) => {
    if (known && isBrokenOff(error)) return undefined;
    throw error;
  });
  if (remote && (known?.size !== remote.size || known.tag !== remote.tag)) {
    if (known) await store.clear(known.size);
    await store.put('description', JSON.stringify({ size: remote.size, tag: remote.tag }));
  }
  const { size } = (remote ?? known) as Description;
  const source = sourceOf(address.href, size, async (start, end, options) => {
    if (remote && end <= remote.atHand && remote.atHand < size) return remote.read(start, end, options);
    const bytes = new Uint8Array(end - start);
    for (let at = start - (start % CHUNK); at < end; at += CHUNK) {
      options.signal?.throwIfAborted();
      const to = Math.min(at + CHUNK, size);
      const kept = await store.chunk(at, to);
      const chunk = kept ?? (await (remote ?? (await open())).read(at, to, options));
      if (!kept) await store.put(at, chunk);
      bytes.set(chunk.subarray(Math.max(0, start - at), end - at), Math.max(0, at - start));
    }
    return bytes;
  });
  return { ...source, forget: () => store.clear(size) };
}

/** What is kept of a file. */
class Store {
  constructor(
    readonly cache: Cache,
    readonly address: URL,
  ) {}

  async description(): Promise<Description | undefined> {
    const found = await this.cache.match(this.#key('description'));
    const value: unknown = await found?.json().catch(() => undefined);
    return isRecord(value) && Number.isSafeInteger(value.size) ? (value as unknown as Description) : undefined;
  }

  /** The bytes from `at` to `end`, unless they are missing or not as many. */
  async chunk(at: number, end: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const found = await this.cache.match(this.#key(at));
    const bytes = found && new Uint8Array(await found.arrayBuffer());
    return bytes?.length === end - at ? bytes : undefined;
  }

  /** Keeps something, if there is room for it. */
  async put(part: string | number, content: string | Uint8Array<ArrayBuffer>): Promise<void> {
    await this.cache.put(this.#key(part), new Response(content)).catch(() => undefined);
  }

  async clear(size: number): Promise<void> {
    for (let at = 0; at < size; at += CHUNK) await this.cache.delete(this.#key(at));
    await this.cache.delete(this.#key('description'));
  }

  #key(part: string | number): string {
    const key = new URL(this.address);
    key.searchParams.set('saccade', String(part));
    return key.href;
  }
}
