/** The CPU backend: AssemblyScript kernels over one shared heap, on worker threads where the platform has them. */
import { BackendError, UnsupportedError } from '../../errors';
import { CpuBackend, type Executor } from '../cpu/backend';
import type { NativePlans } from '../cpu/plan';
import { kernelsAt } from '../native/calls';
import type { KernelFiles } from './files';
import { openHeap } from './memory';
import { Modules } from './modules';
import { availableThreads, Pool } from './pool';
import { hasRelaxedSimd, hasSimd } from './probe';
import type { Module } from './schedule';

export interface WasmOptions {
  readonly threads?: number | undefined;
  readonly simd?: 'relaxed' | 'baseline' | undefined;
  /** Whether machine code is run where there is some; 'auto' where it can be. */
  readonly native: 'auto' | boolean;
  readonly nativePlans: () => Promise<NativePlans>;
  /** The operations of programs. */
  readonly operations: KernelFiles;
}

export async function createWasmBackend({
  threads: asked,
  simd,
  native: wanted,
  nativePlans,
  operations,
}: WasmOptions): Promise<CpuBackend<Module>> {
  if (!hasSimd()) throw new UnsupportedError('this platform has no WebAssembly SIMD: use a current browser or Node');
  const build = simd ?? (hasRelaxedSimd() ? 'relaxed' : 'baseline');
  if (build === 'relaxed' && !hasRelaxedSimd()) {
    throw new UnsupportedError(
      "simd 'relaxed' cannot be had: this platform lacks it (Node 22 and later and current browsers have it); leave simd out or say 'baseline'",
    );
  }
  const available = availableThreads();
  if (asked !== undefined && asked > 1 && available.threads === 0) {
    throw new UnsupportedError(`${asked} threads cannot be had: ${available.reason}`);
  }
  checkPolicy();
  // Nothing of it is fetched by pages.
  const isNode = globalThis.process?.getBuiltinModule !== undefined;
  const native = !wanted ? 'as asked' : isNode ? (await import('../native/open')).openNative() : 'it needs Node';
  if (typeof native === 'string' && wanted === true)
    throw new UnsupportedError(`native code cannot be had: ${native}; leave native out, or say 'auto'`);
  const code = typeof native === 'string' ? undefined : native;
  const heap = openHeap();
  const thread = code?.threadOf(heap.memory, heap.maximumBytes);
  const open = async (threads: number) => {
    const pool = new Pool(threads, heap.memory, thread);
    await pool.start();
    return pool;
  };

  let reason = asked === undefined || available.threads === 0 ? available.reason : 'as asked';
  const pool = await open(available.threads && (asked ?? available.threads)).catch((error) => {
    if (!(error instanceof BackendError) || asked !== undefined) throw error;
    reason = error.message;
    return open(0);
  });
  const modules = new Modules(heap, build, pool.threads, operations, kernelsAt(thread));
  const executor = {
    threads: Math.max(1, pool.threads),
    native: code,
    nativePlans: code && (await nativePlans()),
    kernelsOf: (files, interprets) => (interprets ? modules.interpreting(files) : modules.of(files)),
    run: (module, job, control) => pool.run(module, job, control),
    check: (signal) => pool.check(signal),
    dispose: () => pool.dispose(),
  } satisfies Executor<Module>;
  return new CpuBackend('wasm', heap, executor, [
    'backend: wasm',
    build === 'relaxed'
      ? 'kernels: relaxed SIMD, with fused multiply-add'
      : `kernels: baseline SIMD (${simd ? 'as asked' : 'this platform has no relaxed SIMD: Node 22 and later have it'})`,
    typeof native === 'string'
      ? `native code: none (${native})`
      : `native code: ${native.target.label}, where there is some`,
    pool.threads > 0 ? `threads: ${pool.threads} (${reason})` : `threads: 1, the calling one (${reason})`,
    `memory: up to ${heap.maximumBytes / 2 ** 20} MiB`,
  ]);
}

/** Policies let modules be validated but not compiled, not even an empty one. */
function checkPolicy(): void {
  try {
    new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  } catch (error) {
    throw new UnsupportedError(
      `WebAssembly is not allowed here: a content security policy must have 'wasm-unsafe-eval' in its script-src, or use backend 'webgpu' (${(error as Error).message})`,
    );
  }
}
