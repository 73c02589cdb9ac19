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

/** The file at an address. From a server that ignores ranges it is taken whole, up to 1 GiB. */
export async function urlSource(address: URL, options: ReadOptions = {}): Promise<ByteSource> {
  const name = address.href;
  return repeating(name, options, async () => {
    const response = await request(address, 0, BEGINNING, options);
    // An empty file has no first byte.
    if (response.status === 416) return blobSource(new Blob(), name);
    if (response.status !== 206) return wholeSource(response, name);
    const size = sizeIn(response) ?? (await sizeOfHead(address, options));
    const tag = tagOf(response);
    const beginning = await bodyOf(response);
    return sourceOf(name, size, (start, end, reading) => {
      if (end <= beginning.length) return Promise.resolve(beginning.subarray(start, end));
      return repeating(name, reading, async () => {
        const part = await request(address, start, end, reading);
        if (part.status !== 206) throw new ParseError(`${name}: the server answered a range with the whole file`);
        if (tagOf(part) !== tag || (sizeIn(part) ?? size) !== size)
          throw new ParseError(`${name}: the file was replaced while it was read: open it again`);
        return bodyOf(part);
      });
    });
  });
}

async function request(address: URL, start: number, end: number, { signal }: ReadOptions): Promise<Response> {
  const response = await fetch(address, { headers: { Range: `bytes=${start}-${end - 1}` }, signal: signal ?? null });
  const { status, statusText } = response;
  if (response.ok || (status === 416 && start === 0)) return response;
  await response.body?.cancel();
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

/** The file of a server that ignores ranges. */
async function wholeSource(response: Response, name: string): Promise<ByteSource> {
  const length = Number(response.headers.get('content-length') ?? 0);
  if (length > LARGEST_WHOLE) {
    await response.body?.cancel();
    throw new ParseError(
      `${name}: the server ignores ranges and would send all ${formatBytes(length)}: use one that answers them, or open a downloaded file`,
    );
  }
  return blobSource(await response.blob(), name);
}

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
