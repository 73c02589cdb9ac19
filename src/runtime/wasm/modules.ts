/** The modules of kernels, one for each op's folder, loaded when one of its ops is first called. */
import { BackendError } from '../../errors';
import type { Heap } from '../cpu/heap';
import { instantiate, type Module } from './schedule';

export const BUILDS = ['relaxed', 'baseline'] as const;
export type Build = (typeof BUILDS)[number];

/** The URLs of a module's builds. Bundlers look for `new URL('./x.wasm', import.meta.url)`, written out. */
export type KernelFiles = Readonly<Record<Build, () => URL>>;

export class Modules {
  readonly #modules = new Map<KernelFiles, Module | Promise<Module>>();

  /** `threads` workers get working memory besides the calling thread. */
  constructor(
    private readonly heap: Heap<WebAssembly.Memory>,
    private readonly build: Build,
    private readonly threads: number,
  ) {}

  /** A promise only if a page still has to load it. @throws {BackendError} if it cannot be loaded */
  of(files: KernelFiles): Module | Promise<Module> {
    let module = this.#modules.get(files);
    if (!module) {
      module = this.#load(files);
      this.#modules.set(files, module);
    }
    return module;
  }

  #load(files: KernelFiles): Module | Promise<Module> {
    let place = 'beside their module';
    const failed = (error: unknown): never => {
      // The next call tries again.
      this.#modules.delete(files);
      throw new BackendError(
        `kernels cannot be loaded ${place} (${(error as Error).message}): a bundler must take the package's .wasm files along, as the README shows, and a content security policy allow them in connect-src`,
      );
    };
    try {
      const url = files[this.build]();
      place = `from ${url}`;
      const bytes = read(url);
      if (bytes) return this.#opened(bytes, new WebAssembly.Module(bytes));
      return fetched(url)
        .then(async (bytes) => {
          const module = this.#opened(bytes, await WebAssembly.compile(bytes));
          this.#modules.set(files, module);
          return module;
        })
        .catch(failed);
    } catch (error) {
      return failed(error);
    }
  }

  #opened(bytes: Uint8Array, compiled: WebAssembly.Module): Module {
    const { memory } = this.heap;
    const { address } = this.heap.take(bytes.length);
    new Uint8Array(memory.buffer).set(bytes, address);
    const instance = instantiate(compiled, memory);
    const { address: scratch } = this.heap.take((this.threads + 1) * instance.scratchBytes);
    return { ...instance, address, length: bytes.length, scratch };
  }
}

/** The bytes of a file, where the calling thread may wait for them: in Node, and in the workers of a page. */
function read(url: URL): Uint8Array<ArrayBuffer> | undefined {
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

async function fetched(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  // Bundlers inline small files, and policies seldom allow fetching data URLs.
  if (url.protocol === 'data:') return decodeBase64(url.pathname.slice(url.pathname.indexOf(',') + 1));
  const response = await fetch(url);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
