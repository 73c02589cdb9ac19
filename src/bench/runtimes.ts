import { getOrMake } from '../bounded-map';
import { peakRate } from '../measure/peak';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import type { BenchOptions } from './options';

/** Options for `createRuntime`: threads and a build of the kernels, then without machine code, or a GPU, which has neither. */
export function runtimeOptions({
  backend,
  threads,
  simd,
}: Pick<BenchOptions, 'threads' | 'simd'> & Partial<Pick<BenchOptions, 'backend'>>): RuntimeOptions {
  return backend === 'webgpu' ? { backend } : { threads, ...(simd && { simd, native: false }) };
}

/** The runtimes of one benchmark, each made once. */
export class Runtimes {
  #made = new Map<string, Promise<Runtime>>();

  /** Only tests pass `create`. */
  constructor(readonly create: (options: RuntimeOptions) => Promise<Runtime> = createRuntime) {}

  get(options: RuntimeOptions): Promise<Runtime> {
    const key = JSON.stringify([options.backend, options.threads, options.simd, options.native]);
    return getOrMake(this.#made, key, () => this.create(options));
  }

  /** The current rate of the runtime's fastest multiply-add loop, in GF/s; undefined on backends without one. */
  async peak(options: RuntimeOptions): Promise<number | undefined> {
    return peakRate(await this.get(options));
  }

  /** What the runtime says of itself, one fact a line. */
  async explain(options: RuntimeOptions): Promise<readonly string[]> {
    return (await this.get(options)).backend.explain();
  }

  /** Whether it computes on a GPU that is emulated in software. */
  async isSoftware(options: RuntimeOptions): Promise<boolean> {
    return (await this.get(options)).backend.isSoftware ?? false;
  }

  async dispose(): Promise<void> {
    for (const made of await Promise.allSettled(this.#made.values())) {
      if (made.status === 'fulfilled') made.value.dispose();
    }
    this.#made.clear();
  }
}
