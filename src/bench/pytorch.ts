/** PyTorch in the machine's own Python: the one peer that npm cannot install. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UnsupportedError } from '../errors';
import type { Contender } from './contender';
import { givenOf } from './given';
import type { BenchBackend } from './options';
import { memoryLimit, openPeer, PeerProcess } from './peer-process';

/** Its rows, by name. */
export const PYTORCH = {
  pytorch: { dtype: 'f32', how: 'native code: scaled_dot_product_attention in f32, with TF32 turned off' },
  'pytorch-f16': {
    dtype: 'f16',
    how: 'native code: scaled_dot_product_attention in f16, by the kernel that it chooses',
  },
} as const;
export type PyTorchName = keyof typeof PYTORCH;
export const PYTORCH_NAMES = Object.keys(PYTORCH) as PyTorchName[];

interface Setting {
  /** With wasm it computes on the CPU, with webgpu on a GPU that CUDA or ROCm supports, if there is one. */
  readonly backend: BenchBackend;
  readonly threads: number;
  /** A file of the folder; default: the one for attention. */
  readonly script?: string;
  /** Bytes that it may take; default: most of what is free. */
  readonly memory?: number;
}

/**
 * PyTorch's threads already share the work, and OpenBLAS's own would only compete with them. So products run on PyTorch's if the
 * OpenMP build of OpenBLAS is where Debian puts it, and on one thread otherwise.
 */
function threadsOfProducts(): Readonly<Record<string, string>> {
  const openMp = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/openblas-openmp`;
  return existsSync(openMp) ? { LD_LIBRARY_PATH: openMp } : { OPENBLAS_NUM_THREADS: '1' };
}

/** `folder` has `pytorch.py`. SACCADE_PYTHON names a Python other than `python3`. */
export function pytorch(
  name: PyTorchName,
  folder: string,
  { backend, threads, script = 'pytorch.py', memory }: Setting,
): Contender {
  const { dtype } = PYTORCH[name];
  return {
    name,
    async open(task, signal) {
      const python = process.env.SACCADE_PYTHON || 'python3';
      const env = { PYTHONDONTWRITEBYTECODE: '1', ...threadsOfProducts(), ...process.env };
      const child = new PeerProcess(spawn(python, [join(folder, script)], { env, stdio: 'pipe' }));
      const setting = { backend, threads, dtype, limit: memory ?? memoryLimit() };
      return openPeer(child, givenOf(task), setting, signal).catch((error) => {
        if (error.code !== 'ENOENT' && error.code !== 'EACCES') throw error;
        throw new UnsupportedError(
          `'${python}' cannot be run (${error.code}): install Python and PyTorch, or name a Python that has it in SACCADE_PYTHON`,
        );
      });
    },
  };
}
