/** Compiles the kernel modules that are out of date with their sources, the compiler or its options. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import assemblyscript from 'assemblyscript/package.json' with { type: 'json' };

/** Paths are relative to the root. */
export interface Module {
  readonly source: string;
  readonly options: readonly string[];
  readonly output: string;
}

/** Hashes of what the compiler read (null for files it did not find) and of what it made. */
interface Making {
  readonly read: Readonly<Record<string, string | null>>;
  readonly made: string;
}
export type Answer = Making | { readonly fault: string };

type Made = Readonly<Record<string, Making & { readonly how: string }>>;

/** Each of the sources in two builds. */
export const modulesOf = (sources: readonly string[]): Module[] =>
  sources.flatMap((source) =>
    Object.entries(BUILDS).map(([build, features]) => ({
      source,
      options: [...OPTIONS, ...features],
      output: source.replace(/as\.ts$/, `${build}.wasm`),
    })),
  );

const BUILDS = { relaxed: ['--enable', 'relaxed-simd'], baseline: [] };
/** A last pass over the locals makes -O2 as small and fast as -O3, which takes twice as long. */
const OPTIONS = [
  ...['-O2', '--runPasses', 'coalesce-locals,reorder-locals,vacuum'],
  ...['--noAssert', '--runtime', 'stub', '--enable', 'simd', '--enable', 'threads'],
  ...[
    '--importTable',
    '--importMemory',
    '--noExportMemory',
    '--sharedMemory',
    '--initialMemory',
    '1',
    '--maximumMemory',
    '65536',
  ],
];

/** Compiles the modules of these sources, and says which it did. */
export async function compileRooms(root: string, sources: readonly string[]): Promise<void> {
  const outputs = await compileKernels(root, modulesOf(sources), 'src/ops/kernels.generated.json');
  if (outputs.length > 0) console.log(`compiled ${outputs.map((path) => basename(path)).join(', ')}`);
}

/** Returns the outputs that were compiled. The file `memory` remembers how all of them were made. */
export async function compileKernels(root: string, modules: readonly Module[], memory: string): Promise<string[]> {
  const file = join(root, memory);
  let made = readMade(file);
  const hashes = new Map<string, string | null>();
  const hash = (path: string) => {
    if (!hashes.has(path)) hashes.set(path, hashOfFile(join(root, path)));
    return hashes.get(path);
  };
  const isMade = ({ output, ...module }: Module) => {
    const making = made[output];
    if (making?.how !== howOf(module) || making.made !== hash(output)) return false;
    return Object.entries(making.read).every(([path, then]) => then === hash(path));
  };
  const stale = modules.filter((module) => !isMade(module));
  // The largest first, so that none of them is left for the end.
  const sizes = new Map(stale.map(({ source }) => [source, sizeOfRoom(join(root, source))]));
  const waiting = [...stale].sort((a, b) => (sizes.get(b.source) ?? 0) - (sizes.get(a.source) ?? 0));
  const compileRest = async () => {
    const worker = new Worker(new URL('./kernel-compiler.ts', import.meta.url), { workerData: { root } });
    try {
      for (let module = waiting.shift(); module; module = waiting.shift()) {
        worker.postMessage(module);
        const [answer] = (await once(worker, 'message')) as [Answer];
        if ('fault' in answer) throw new Error(answer.fault);
        made = { ...made, [module.output]: { how: howOf(module), ...answer } };
        writeFileSync(file, JSON.stringify(made));
      }
    } finally {
      waiting.length = 0;
      await worker.terminate();
    }
  };
  const threads = Math.min(stale.length, availableParallelism());
  await Promise.all(Array.from({ length: threads }, compileRest));
  return stale.map(({ output }) => output);
}

const howOf = ({ source, options }: Pick<Module, 'source' | 'options'>) =>
  [assemblyscript.version, source, ...options].join(' ');

export function hashOf(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function hashOfFile(path: string): string | null {
  try {
    return hashOf(readFileSync(path));
  } catch {
    return null;
  }
}

function readMade(file: string): Made {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Made;
  } catch {
    return {};
  }
}

/** Bytes of the sources beside one. */
function sizeOfRoom(source: string): number {
  const files = globSync('**/*.as.ts', { cwd: dirname(source) });
  return files.reduce((sum, name) => sum + statSync(join(dirname(source), name)).size, 0);
}
