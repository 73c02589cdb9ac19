/** Files of web servers, read by ranges. */
import { ParameterError, ParseError } from '../errors';
import { formatBytes } from '../text/format';
import { reasonOf } from '../text/reason';
import { type ByteSource, blobSource, type ReadOptions, sourceOf } from './source';

/** What the first request asks for: headers of most files fit. */
const BEGINNING = 2 ** 16;
/** The most that is taken whole from a server that ignores ranges. */
const LARGEST_WHOLE = 2 ** 30;
/** Before requests are repeated that the network or the server broke off, in milliseconds. */
const PAUSES = [200, 1000];

/** A file of a server. */
export interface RemoteSource extends ByteSource {
  /** Another one where the file is another; empty where the server says nothing of the kind. */
  readonly tag: string;
  /** How many of its first bytes came with the answer that told its size. */
  readonly atHand: number;
}

/** The file at an address. From a server that ignores ranges it is taken whole, up to 1 GiB. */
export async function urlSource(address: URL, options: ReadOptions = {}): Promise<RemoteSource> {
  const name = address.href;
  return repeating(name, options, async () => {
    const response = await request(address, 0, BEGINNING, options);
    const tag = tagOf(response);
    // An empty file has no first byte.
    if (response.status === 416) return { ...blobSource(new Blob(), name), tag, atHand: 0 };
    if (response.status !== 206) return { ...(await wholeSource(address, response, options)), tag, atHand: 0 };
    const size = sizeIn(response) ?? (await sizeOfHead(address, options));
    const beginning = await bodyOf(response);
    const source = sourceOf(name, size, (start, end, reading) => {
      if (end <= beginning.length) return Promise.resolve(beginning.subarray(start, end));
      return repeating(name, reading, async () => {
        const part = await request(address, start, end, reading);
        if (part.status !== 206) throw new ParseError(`${name}: the server answered a range with the whole file`);
        if (tagOf(part) !== tag || (sizeIn(part) ?? size) !== size)
          throw new ParseError(`${name}: the file was replaced while it was read: open it again`);
        return bodyOf(part);
      });
    });
    return { ...source, tag, atHand: beginning.length };
  });
}

async function request(address: URL, start: number, end: number, { signal }: ReadOptions): Promise<Response> {
  const response = await fetch(address, { headers: { Range: `bytes=${start}-${end - 1}` }, signal: signal ?? null });
  const { status, statusText } = response;
  const isPage = /^text\/html\b/.test(response.headers.get('content-type') ?? '');
  if ((response.ok && !isPage) || (status === 416 && start === 0)) return response;
  await response.body?.cancel();
  // Hosts of single pages answer so for a file that is not there.
  if (response.ok)
    throw new ParameterError(`cannot read weights from '${address.href}': the server answered a web page`, {
      cause: 404,
    });
  const answer = `the server answered ${status} ${statusText}`.trim();
  if (status === 429 || status >= 500) throw new TypeError(answer);
  throw new ParameterError(`cannot read weights from '${address.href}': ${answer}`, { cause: status });
}

/** Whether an error says that a server has no such file; those of stores refuse instead what they do not have. */
export function isMissing(error: unknown): boolean {
  return error instanceof ParameterError && [403, 404, 410].includes(error.cause as number);
}

/** The size of the whole file in the answer to a range, unless the server keeps it from this page. */
function sizeIn(response: Response): number | undefined {
  const [, size] = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  return size === undefined ? undefined : Number(size);
}

async function sizeOfHead(address: URL, { signal }: ReadOptions): Promise<number> {
  const { headers } = await fetch(address, { method: 'HEAD', signal: signal ?? null });
  const length = headers.get('content-length');
  if (length !== null) return Number(length);
  throw new ParseError(`${address.href}: the server does not say how large the file is`);
}

/** What changes when the file does. */
function tagOf({ headers }: Response): string {
  return headers.get('etag') ?? headers.get('last-modified') ?? '';
}

async function bodyOf(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await response.arrayBuffer());
}

/** The file of a server that ignores ranges, and answered with all of it: fetched when it is read first. */
async function wholeSource(address: URL, response: Response, options: ReadOptions): Promise<ByteSource> {
  const name = address.href;
  const said = response.headers.get('content-length');
  // Without a length, or with that of what was compressed, only the whole tells its size.
  if (said === null || response.headers.has('content-encoding') || Number(said) <= BEGINNING)
    return blobSource(await response.blob(), name);
  await response.body?.cancel();
  const size = Number(said);
  if (size > LARGEST_WHOLE)
    throw new ParseError(
      `${name}: the server ignores ranges and would send all ${formatBytes(size)}: use one that answers them, or open a downloaded file`,
    );
  let whole: Promise<ByteSource> | undefined;
  const fetched = () =>
    repeating(name, options, async () => blobSource(await (await request(address, 0, size, options)).blob(), name));
  return sourceOf(name, size, async (start, end) => {
    whole ??= fetched();
    return (await whole).read(start, end);
  });
}

/** Whether an error says that the network or the server broke off, again and again. */
export const isBrokenOff = (error: unknown): boolean =>
  error instanceof ParameterError && error.cause instanceof TypeError;

/** Does `work` again where the network or the server broke it off. */
async function repeating<T>(name: string, { signal }: ReadOptions, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      // What fetch() throws for a network that fails; anything else stays as it is.
      if (!(error instanceof TypeError)) throw error;
      const pause = PAUSES[attempt];
      if (pause === undefined)
        throw new ParameterError(`cannot read weights from '${name}': ${reasonOf(error)}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, pause));
      signal?.throwIfAborted();
    }
  }
}
