/** What tests need beside Node: looked for once a run, in the process of Vitest. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { CHROMIUM } from './chromium.ts';
import { FIREFOX } from './firefox.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of random cases. */
    seed: number;
    /** What is not there, in words that end with the remedy. */
    missing: Partial<Record<Need, string>>;
    /** Whether blocks of the guide are tried, or those of the README. */
    guide: boolean;
    /** Whether there is a GPU, if only one in software. */
    hasGpu: boolean;
    /** Whether the project tests on a GPU what another one tests on the CPU. */
    onGpu: boolean;
    /** Of subgroups, where the adapter lets kernels choose. */
    subgroupSizes: number[];
  }
}

export type Need = keyof typeof NEEDS;

export const PYTHON = process.env.SACCADE_PYTHON || 'python3';

const GPU = `
  const { create } = await import('webgpu');
  const { info } = await create([]).requestAdapter();
  const { subgroupMinSize: least = 0, subgroupMaxSize: most = 0 } = info;
  console.log(JSON.stringify([4, 8, 16, 32, 64, 128].filter((size) => least < most && size >= least && size <= most)));
  process.exit(0);`;

const says = (program: string, ...args: string[]) =>
  promisify(execFile)(program, args, { cwd: import.meta.dirname, timeout: 30_000 }).then(({ stdout }) => stdout);

/** What each is found by, which rejects where it is not there, and what to say of that. */
const NEEDS = {
  chromium: {
    find: async () => accessSync(CHROMIUM.executablePath, constants.X_OK),
    missing: `Chromium: no ${CHROMIUM.executablePath}: apt-get install chromium, or set CHROMIUM to the path of another`,
  },
  firefox: {
    find: async () => accessSync(FIREFOX, constants.X_OK),
    missing: `Firefox: no ${FIREFOX}: apt-get install firefox-esr, or set FIREFOX to the path of another`,
  },
  gpu: {
    find: () => says(process.execPath, '--input-type=module', '--eval', GPU),
    missing: 'WebGPU in Node: no Vulkan driver: apt-get install mesa-vulkan-drivers, which has one in software',
  },
  pytorch: {
    find: () => says(PYTHON, '-c', 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'),
    missing: `PyTorch: ${PYTHON} has none: apt-get install python3-torch, or set SACCADE_PYTHON to a Python that has it`,
  },
  mpi: {
    find: async () => {
      if (!(await says('mpirun', '--version')).includes('Open MPI')) throw new Error('another MPI');
    },
    missing: 'ranks by MPI: no mpirun of Open MPI: apt-get install openmpi-bin libopenmpi-dev',
  },
  nats: {
    find: () => says('nats-server', '--version'),
    missing: 'sweeps: no nats-server: apt-get install nats-server',
  },
  bun: {
    find: () => says('bun', '--version'),
    missing: 'the package in Bun: no bun: npm install --global bun',
  },
  deno: {
    find: () => says('deno', '--version'),
    missing: 'the package in Deno: no deno: npm install --global deno',
  },
  gcc: {
    find: () => says('gcc', '--version'),
    missing: 'the library of another MPI: no gcc: apt-get install gcc',
  },
  objdump: {
    find: () => says('objdump', '--version'),
    missing: 'machine code as a disassembler reads it: no objdump: apt-get install binutils',
  },
  mkfifo: {
    find: async () => {
      const isThere = (folder: string) => accessSync(join(folder, 'mkfifo'), constants.X_OK);
      await Promise.any((process.env.PATH ?? '').split(delimiter).map(async (folder) => isThere(folder)));
    },
    missing: 'pipes: no mkfifo: apt-get install coreutils',
  },
} as const;

/** Before what is said of each thing that is missing, in the name of a skipped test; `skipped.ts` says it once a run. */
export const NOT_TESTED = 'NOT TESTED, ';

/** What is missing here; where SACCADE_SKIP_NOTHING is set, that is an error. */
export async function lookAround(): Promise<{ missing: Partial<Record<Need, string>>; subgroupSizes: number[] }> {
  const found = new Map<string, unknown>();
  const missing: Partial<Record<Need, string>> = {};
  await Promise.all(
    (Object.keys(NEEDS) as Need[]).map(async (need) => {
      try {
        found.set(need, await NEEDS[need].find());
      } catch {
        missing[need] = NEEDS[need].missing;
      }
    }),
  );
  const lines = Object.values(missing);
  if (process.env.SACCADE_SKIP_NOTHING && lines.length > 0) throw new Error(lines.join('\n'));
  return { missing, subgroupSizes: JSON.parse(String(found.get('gpu') ?? '[]')) };
}
