/** Files that lie beside modules of the library, by their addresses: `new URL('./x', import.meta.url)`, which bundlers look for. */

import { ParameterError } from '../errors';

/**
 * Files of `what` by their names, as of a folder.
 *
 * @throws {ParameterError} files that cannot be had
 */
export function assetFiles(
  what: string,
  places: Readonly<Record<string, () => URL>>,
  signal?: AbortSignal,
): Promise<File[]> {
  return Promise.all(
    Object.entries(places).map(async ([name, place]) => {
      const url = place();
      try {
        // Never by a call that waits: the worker of a page could not be told to stop.
        const inNode = url.protocol === 'file:' ? readAsset(url) : undefined;
        return new File([inNode ?? (await fetchAsset(url, signal))], name);
      } catch (error) {
        signal?.throwIfAborted();
        throw new ParameterError(
          `${what}'s ${name} cannot be loaded from ${url} (${(error as Error).message}): a bundler must take the package's files along`,
        );
      }
    }),
  );
}

/** The bytes, where the calling thread may wait for them: in Node, and in the workers of a page. */
export function readAsset(url: URL): Uint8Array<ArrayBuffer> | undefined {
  const fs = url.protocol === 'file:' && globalThis.process?.getBuiltinModule?.('node:fs');
  if (fs) return new Uint8Array(fs.readFileSync(url));
  const mayWait = typeof document === 'undefined' && typeof XMLHttpRequest !== 'undefined';
  if (!mayWait || url.protocol === 'data:') return undefined;
  const request = new XMLHttpRequest();
  request.open('GET', url, false);
  request.responseType = 'arraybuffer';
  request.send();
  if (request.status !== 200) throw new Error(`status ${request.status}`);
  return new Uint8Array(request.response);
}

/** The bytes, in a page. */
export async function fetchAsset(url: URL, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  // Bundlers inline small files, and policies seldom allow fetching data URLs.
  if (url.protocol === 'data:') return decodeDataUrl(url);
  const response = await fetch(url, { ...(signal && { signal }) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function decodeDataUrl({ pathname }: URL): Uint8Array<ArrayBuffer> {
  const comma = pathname.indexOf(',');
  const content = pathname.slice(comma + 1);
  if (!pathname.slice(0, comma).endsWith(';base64')) return new TextEncoder().encode(decodeURIComponent(content));
  return Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
}
