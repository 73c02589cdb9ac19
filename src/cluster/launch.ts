/** Starts the ranks of a program by Open MPI's launcher or Slurm's, and tells how they end (Node). */
import { BackendError, UnsupportedError } from '../errors';
import { causeOf } from './transport';

export interface LaunchOptions {
  readonly ranks: number;
  /** What each rank runs. Default: Node. */
  readonly program?: string | undefined;
  /** Its arguments, such as a script and the script's own. */
  readonly words: readonly string[];
  /** Hosts for `mpirun`. Default: this machine. */
  readonly hostfile?: string | undefined;
  /** By `srun`, whose own options come from its environment. */
  readonly slurm?: boolean | undefined;
  /** How long a call waits for other ranks. */
  readonly seconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Each line that a rank writes; without a rank, what the launcher says. */
  onLine(rank: number | undefined, stream: 'stdout' | 'stderr', line: string): void;
}

const SECONDS = 'SACCADE_CLUSTER_SECONDS';
/** Set for ranks that shall say when they join the others, by `JOINED`. */
const SAYS = 'SACCADE_CLUSTER_SAYS';
const JOINED = /^saccade: rank \d+ has joined$/;
/** How a rank begins the line that says why it failed. */
const FAILURE = /^saccade: rank (\d+) failed: (.*)$/;
/** `[1,2]<stdout>: text` by mpirun, ` 2: text` by srun. */
const TAGS = { mpirun: /^\[\d+,(\d+)\]<std(?:out|err)>: ?/, srun: /^ *(\d+): ?/ };
/** What the launchers say of a rank that did not end well. */
const ENDS = [
  /process\s+rank\s+(\d+)\s.*?(exited\s+on\s+signal\s+\d+\s+\([^)]*\))/s,
  /Process name: \[[^\]]*,(\d+)\]\s+(Exit code:\s+\d+)/,
  /task (\d+): (Exited with exit code \d+|Killed|Terminated)/,
];
/** What Open MPI says on a rank that notices the end of one on another machine first. */
const LOST = /^ +Peer host: +(\S+)$/;
/** How long processes have to end before they are killed. */
const GRACE_MILLISECONDS = 5000;

/**
 * Runs a program on so many ranks and resolves when all have ended well: to how many of them opened a communicator.
 *
 * @throws {UnsupportedError} the launcher is missing, or another MPI's
 * @throws {BackendError} a rank failed or died: which one, and why
 */
export async function launchRanks(options: LaunchOptions): Promise<number> {
  const { spawn } = process.getBuiltinModule('node:child_process');
  const launcher = options.slurm ? 'srun' : 'mpirun';
  await checkLauncher(launcher);
  const { program = process.execPath, words } = options;
  const child = spawn(launcher, [...argumentsOf(options), program, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environmentOf(options),
  });
  const failures: string[] = [];
  const own: string[] = [];
  let joined = 0;
  let lost: string | undefined;
  const hear = (stream: 'stdout' | 'stderr') => (line: string) => {
    const tag = TAGS[launcher].exec(line);
    const text = tag ? line.slice(tag[0].length) : line;
    const failure = FAILURE.exec(text);
    const [, host] = LOST.exec(text) ?? [];
    if (tag && host !== undefined) lost ??= `rank ${tag[1]}: it lost a rank on ${host}, which crashed or was killed`;
    if (JOINED.test(text)) joined++;
    else if (failure) failures.push(`rank ${failure[1]}: ${failure[2]}`);
    else if (tag) options.onLine(Number(tag[1]), stream, text);
    else own.push(text);
  };
  for (const stream of ['stdout', 'stderr'] as const) eachLine(child[stream], hear(stream));
  const code = await ended(child, options.signal);
  options.signal?.throwIfAborted();
  if (code === 0) return joined;
  const said = own.join('\n');
  const first = causeOf(failures) ?? endIn(said) ?? lost;
  if (first) throw new BackendError(first);
  for (const line of own) options.onLine(undefined, 'stderr', line);
  throw new BackendError(`${launcher} ended with exit code ${code}`);
}

function endIn(said: string): string | undefined {
  for (const end of ENDS) {
    const found = end.exec(said);
    if (found) return `rank ${found[1]}: ${(found[2] as string).replace(/\s+/g, ' ')}`;
  }
  return undefined;
}

function argumentsOf({ ranks, hostfile, slurm }: LaunchOptions): string[] {
  const count = ['-n', String(ranks)];
  if (slurm) return [...count, '--mpi=pmix', '--kill-on-bad-exit=1', '--label'];
  // Ranks have several threads each, which should not share the one core that a rank would be bound to.
  const common = [...count, '--tag-output', '--bind-to', 'none', '--oversubscribe'];
  if (hostfile !== undefined) return [...common, '--hostfile', hostfile, '-x', SECONDS, '-x', SAYS];
  // On one machine nothing else is needed, and interfaces that reach nobody would be tried.
  return [...common, '--mca', 'btl', 'self,sm'];
}

function environmentOf({ seconds }: LaunchOptions): NodeJS.ProcessEnv {
  const isRoot = process.getuid?.() === 0;
  return {
    ...process.env,
    [SAYS]: '1',
    // mpirun gives ranks a terminal, in which Node writes colours, wherever its own output goes.
    ...(process.stdout.isTTY !== true && { NO_COLOR: '1' }),
    // As in containers; Open MPI refuses otherwise.
    ...(isRoot && { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' }),
    ...(seconds !== undefined && { [SECONDS]: String(seconds) }),
  };
}

async function checkLauncher(launcher: 'mpirun' | 'srun'): Promise<void> {
  const { execFile } = process.getBuiltinModule('node:child_process');
  const { promisify } = process.getBuiltinModule('node:util');
  const version = await promisify(execFile)(launcher, ['--version']).then(
    ({ stdout }) => stdout,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') return '';
      throw new UnsupportedError(
        launcher === 'srun'
          ? "srun is not installed: --slurm is for Slurm's machines, leave it out to use mpirun"
          : 'mpirun is not installed: it is part of Open MPI (Debian: apt install openmpi-bin)',
      );
    },
  );
  if (launcher === 'srun' || version.includes('Open MPI')) return;
  const [first = ''] = version.trim().split('\n');
  throw new UnsupportedError(`mpirun is that of another MPI ('${first.trim()}'): put Open MPI's in front in PATH`);
}

function eachLine(stream: NodeJS.ReadableStream, hear: (line: string) => void): void {
  const { createInterface } = process.getBuiltinModule('node:readline');
  // mpirun puts zeros between pieces of what it passes on.
  createInterface({ input: stream }).on('line', (line) => hear(line.replaceAll('\0', '')));
}

/** The exit code, once all output has been heard; an abort ends the processes first gently, then at once. */
function ended(
  child: ReturnType<typeof import('node:child_process').spawn>,
  signal: AbortSignal | undefined,
): Promise<number | null> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = () => {
      child.kill('SIGTERM');
      timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MILLISECONDS);
    };
    signal?.addEventListener('abort', stop);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    };
    child.on('error', (error) => {
      end();
      reject(error);
    });
    child.on('close', (code) => {
      end();
      resolve(code);
    });
  });
}
