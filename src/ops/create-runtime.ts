import { checkOptions, checkWhole, show } from '../check';
import { ParameterError, UnsupportedError } from '../errors';
import { BACKENDS, type BackendName } from '../runtime/backend';
import { type Runtime, runtimeOn } from '../runtime/runtime';
import type { GpuOptions } from '../runtime/webgpu/adapter';
import { operationsKernels as operations } from './map/params.generated';

export interface RuntimeOptions {
  /** Where to compute; `'auto'` (default) is wasm. A named backend that is missing is an error, never replaced. */
  readonly backend?: BackendName | 'auto';
  /** Threads of the wasm backend, at least 1. Default: one per core, or 1 if the platform has no threads. */
  readonly threads?: number;
  /** The build of the wasm kernels; default: relaxed SIMD (fused multiply-add) if the platform has it. */
  readonly simd?: 'relaxed' | 'baseline';
  /**
   * Whether the wasm backend runs machine code for this processor where the library has some: `'auto'` (default) if it can, which takes
   * Node on Linux, a processor with AVX2 and the package koffi; `explain()` says why not. Results differ in the last bits.
   */
  readonly native?: 'auto' | boolean;
  /** For the webgpu backend: which device, and what its kernels may use. */
  readonly webgpu?: GpuOptions;
}

const OPTION_NAMES = ['backend', 'threads', 'simd', 'native', 'webgpu'];

/** A new runtime. */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  checkOptions('createRuntime', options, OPTION_NAMES);
  const { backend = 'auto', threads, simd, native, webgpu } = options;
  if (backend !== 'auto' && !BACKENDS.includes(backend)) {
    throw new ParameterError(`backend must be one of auto, ${BACKENDS.join(', ')}, got ${show(backend)}`);
  }
  if (threads !== undefined) checkWhole('threads', threads, 1, 256);
  if (simd !== undefined && simd !== 'relaxed' && simd !== 'baseline') {
    throw new ParameterError(`simd must be 'relaxed' or 'baseline', got ${show(simd)}`);
  }
  if (native !== undefined && native !== 'auto' && typeof native !== 'boolean')
    throw new ParameterError(`native must be 'auto', true or false, got ${show(native)}`);
  if (webgpu !== undefined && backend !== 'webgpu')
    throw new UnsupportedError(`the option webgpu needs backend 'webgpu', got ${show(backend)}`);
  if (backend === 'webgpu' || backend === 'reference') {
    if (threads !== undefined || simd !== undefined || native !== undefined) {
      throw new UnsupportedError(
        `the ${backend} backend has no threads, no SIMD and no native code to choose: leave threads, simd and native out`,
      );
    }
    if (backend === 'reference') {
      const { ReferenceBackend } = await import('../runtime/reference/backend');
      return runtimeOn(new ReferenceBackend());
    }
    const { WebGpuBackend } = await import('../runtime/webgpu/backend');
    const { chooseSizes } = await import('./sizes/chosen');
    return runtimeOn(await WebGpuBackend.create(webgpu ?? {}, chooseSizes));
  }
  const { createWasmBackend } = await import('../runtime/wasm/backend');
  return runtimeOn(await createWasmBackend({ threads, simd, native: native ?? 'auto', nativePlans, operations }));
}

const nativePlans = async () => (await import('./native')).nativePlans;

let shared: Promise<Runtime> | undefined;

/** The runtime that is made on first use, with default options, for callers who do not need their own. */
export function defaultRuntime(): Promise<Runtime> {
  shared ??= createRuntime().catch((error) => {
    shared = undefined;
    throw error;
  });
  return shared;
}
