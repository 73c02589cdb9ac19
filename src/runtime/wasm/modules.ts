/** The modules of kernels, one for each op's folder or for a part of it, loaded when one of its kernels is first called. */
import { BackendError } from '../../errors';
import { fetchAsset, readAsset } from '../../io/asset';
import type { Heap } from '../cpu/heap';
import { kernelsAt } from '../native/calls';
import type { Build, KernelFiles } from './files';
import { instantiate, type Module, openTable } from './schedule';

export class Modules {
  readonly #modules = new Map<KernelFiles, Module | Promise<Module>>();
  readonly #table = openTable();

  /** `threads` workers get working memory besides the calling thread; `operations` are those of programs. */
  constructor(
    private readonly heap: Heap<WebAssembly.Memory>,
    private readonly build: Build,
    private readonly threads: number,
    private readonly operations: KernelFiles,
    private readonly codeAt = kernelsAt(undefined),
  ) {}

  /** One that may run programs. A promise only if a page still has to load something. @throws {BackendError} if it cannot be loaded */
  interpreting(files: KernelFiles): Module | Promise<Module> {
    const [module, operations] = [this.of(files), this.of(this.operations)];
    if (module instanceof Promise || operations instanceof Promise)
      return Promise.all([module, operations]).then(([module, operations]) => Object.assign(module, { operations }));
    module.operations = operations;
    return module;
  }

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
      const bytes = readAsset(url);
      if (bytes) return this.#opened(bytes, new WebAssembly.Module(bytes));
      return fetchAsset(url)
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
    const instance = instantiate(compiled, memory, this.#table, this.codeAt);
    const { address: scratch } = this.heap.take((this.threads + 1) * instance.scratchBytes);
    return { ...instance, codeAt: this.codeAt, address, length: bytes.length, scratch, operations: undefined };
  }
}
