import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { runRanks } from '../src/cluster';
import { saccade } from './command-line';
import { has } from './has';

const root = resolve(import.meta.dirname, '..');
const program = join(root, 'test/ranks-program.mjs');
const folder = mkdtempSync(join(tmpdir(), 'saccade-cluster-'));
afterAll(() => rmSync(folder, { recursive: true }));

const hasMpi = has('mpi');

type Errors = Readonly<Record<string, number>>;
const tooLarge = (errors: Errors) => Object.entries(errors).filter(([, error]) => !(error < 1e-5));

const onWorkers = (count: number, data: string, seconds?: number) =>
  runRanks<Errors>(count, () => new Worker(program), { data, seconds });

/** How `saccade cluster run` of so many ranks ends. */
const cluster = (count: number, words: readonly string[]) => saccade('cluster', 'run', '-n', String(count), ...words);

afterEach(() => vi.unstubAllEnvs());

test('workers give what one process makes of all tensors', async () => {
  const all = await onWorkers(3, 'check');
  expect(all).toHaveLength(3);
  for (const errors of all) expect(tooLarge(errors)).toEqual([]);
});

test('a worker that throws, exits or hangs is named', async () => {
  await expect(onWorkers(2, 'throw')).rejects.toThrow('rank 1: no more paper');
  await expect(onWorkers(2, 'exit')).rejects.toThrow('rank 1: it ended with exit code 3');
  await expect(onWorkers(2, 'hang', 3)).rejects.toThrow(/rank 0: allGather, call 0: rank 1 did not come within 3 s/);
});

test('a failure that others follow from is told, although it is heard after theirs', async () => {
  const failures = ['rank 1 failed: no more paper', 'no more paper'];
  const open = (rank: number) => ({
    postMessage: () => {},
    terminate: () => {},
    on(event: string, listener: (value: unknown) => void) {
      if (event === 'message') setTimeout(() => listener({ failure: failures[rank] }), 20 * rank);
    },
  });
  await expect(runRanks(2, open)).rejects.toThrow('rank 1: no more paper');
});

test.runIf(hasMpi)('ranks by MPI give the same, and their output has their number', async () => {
  const { code, stdout, stderr } = await cluster(3, [program, 'check']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const lines = stdout.trim().split('\n');
  expect(lines.map((line) => line.slice(0, 4)).sort()).toEqual(['[0] ', '[1] ', '[2] ']);
  for (const line of lines) expect(tooLarge(JSON.parse(line.slice(4)))).toEqual([]);
});

test.runIf(hasMpi)(
  'a rank of MPI that throws, dies, hangs or brings another shape ends all, with one reason',
  async () => {
    const thrown = await cluster(2, [program, 'throw']);
    expect(thrown.code).toBe(1);
    expect(thrown.stderr).toMatch(/^\[1\] Error: no more paper$/m);
    expect(thrown.stderr.trim().split('\n').at(-1)).toBe('saccade: rank 1: no more paper');
    const killed = await cluster(2, [program, 'kill']);
    expect(killed.code).toBe(1);
    expect(killed.stderr).toMatch(/^saccade: rank 1: exited on signal 9 \(Killed\)$/m);
    const hung = await cluster(2, ['--seconds', '1', program, 'hang']);
    expect(hung.code).toBe(1);
    expect(hung.stderr).toMatch(/^saccade: rank 0: allGather, call 0: rank 1 did not come within 1 s$/m);
    const other = await cluster(2, [program, 'extent']);
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/^saccade: rank [01]: rank [01] came with 'allGather, call 0: f32 \[[34]\]'/m);
  },
);

test.runIf(hasMpi)('a program that joins no others is told so, once', async () => {
  const empty = join(folder, 'empty.mjs');
  writeFileSync(empty, '');
  const { code, stdout, stderr } = await cluster(2, [empty]);
  expect([code, stdout]).toEqual([0, '']);
  expect(stderr).toMatch(/^saccade: .*empty.mjs ran 2 times, each alone: it calls neither asRank\(\) nor .*\n$/);
});

test('what is missing is one clear message', async () => {
  const none = await cluster(2, ['no-such.mjs']);
  expect(none).toMatchObject({
    code: 2,
    stderr: "saccade: script must be a file, got 'no-such.mjs', which does not exist\n",
  });
  expect((await cluster(0, [program])).stderr).toMatch(/must be a whole number from 1 to 4096/);
  vi.stubEnv('SACCADE_MPI_LIBRARY', '/no/libmpi.so');
  const library = await cluster(2, [program]);
  expect(library.code).toBe(2);
  expect(library.stderr).toMatch(/^saccade: Open MPI's library \/no\/libmpi.so cannot be opened: install Open MPI/);
});

test.runIf(hasMpi)('a missing launcher, or that of another MPI, is named', async () => {
  const path = process.env.PATH;
  vi.stubEnv('PATH', folder);
  const gone = await cluster(2, [program]);
  expect(gone).toMatchObject({ code: 2 });
  expect(gone.stderr).toMatch(/^saccade: mpirun is not installed: it is part of Open MPI/);
  writeFileSync(join(folder, 'mpirun'), '#!/bin/sh\necho "HYDRA build details:"\n', { mode: 0o755 });
  vi.stubEnv('PATH', `${folder}:${path}`);
  const other = await cluster(2, [program]);
  expect(other.stderr).toMatch(/^saccade: mpirun is that of another MPI \('HYDRA build details:'\)/);
});

test.runIf(has('gcc'))("another MPI's library is named by its own version", async () => {
  const source = join(folder, 'mpich.c');
  const library = join(folder, 'libmpich.so');
  writeFileSync(
    source,
    '#include <string.h>\nint MPI_Get_library_version(char *t, int *n) { strcpy(t, "MPICH Version: 4.2.1"); *n = 20; return 0; }\n',
  );
  execFileSync('gcc', ['-shared', '-fPIC', '-o', library, source]);
  vi.stubEnv('SACCADE_MPI_LIBRARY', library);
  const { code, stderr } = await cluster(2, [program]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/libmpich.so is 'MPICH Version: 4.2.1', .*use Open MPI/);
});
