/** Ranks as workers of one machine, or as processes that MPI has started: the same program serves both. */
import { checkFunction, checkNumber, checkOptions, checkWhole, show } from '../check';
import { BackendError, ParameterError, UnsupportedError } from '../errors';
import { checkControl } from '../ops/check';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { Runtime } from '../runtime/runtime';
import { reasonOf } from '../text/reason';
import { type Communicator, openCommunicator } from './communicator';
import { boardOf, endRank, ThreadTransport } from './threads';
import { alone, causeOf } from './transport';

export interface CommunicatorOptions {
  /** How long a call waits for other ranks before it fails and names them. Default: 300, or SACCADE_CLUSTER_SECONDS. */
  readonly seconds?: number | undefined;
}

/** What MPI's launchers and Slurm's leave in the environment of a rank. */
const SIGNS_OF_MPI = ['OMPI_COMM_WORLD_SIZE', 'PMIX_RANK', 'PMI_RANK'];

/**
 * The communicator of this process with all that `mpirun` started, or of one rank alone if it was started otherwise.
 *
 * @throws {UnsupportedError} koffi or Open MPI is missing, or another MPI is there
 * @throws {BackendError} ranks run different versions of this library, or do not come in time
 */
export async function communicator(runtime: Runtime, options: CommunicatorOptions = {}): Promise<Communicator> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkOptions('communicator', options, ['seconds']);
  const env = globalThis.process?.env ?? {};
  const { seconds = env.SACCADE_CLUSTER_SECONDS ? Number(env.SACCADE_CLUSTER_SECONDS) : undefined } = options;
  if (seconds !== undefined) checkSeconds(seconds);
  if (!SIGNS_OF_MPI.some((name) => name in env)) return openCommunicator(runtime, alone, seconds);
  const { MpiTransport } = await import('./mpi');
  const transport = await MpiTransport.open();
  const { PMI_SIZE = 1 } = env;
  if (transport.size === 1 && Number(PMI_SIZE) > 1)
    throw new UnsupportedError(
      `this program is one of ${PMI_SIZE} ranks, but Open MPI sees one alone: start it with Open MPI's own mpirun or, under Slurm, with srun --mpi=pmix`,
    );
  return openCommunicator(runtime, transport, seconds);
}

const checkSeconds = (seconds: number) =>
  checkNumber('seconds', seconds, 'a number above 0', (value) => Number.isFinite(value) && value > 0);

/** What a rank does; `data` is what `runRanks` was given. What it returns must be something that workers can send. */
export type RankWork = (communicator: Communicator, data: never) => unknown;

export interface RankOptions extends CommunicatorOptions {
  /** Default: wasm with one thread. */
  readonly runtime?: RuntimeOptions | undefined;
}

export interface RunRanksOptions {
  /** For all ranks: whatever workers can be sent. */
  readonly data?: unknown;
  /** How long a call waits for other ranks before it fails and names them. Default: 300. */
  readonly seconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The first message to a worker. */
interface Start {
  readonly board: SharedArrayBuffer;
  readonly rank: number;
  readonly size: number;
  readonly data: unknown;
  readonly seconds: number | undefined;
}

/** The last one from it. */
type End = { readonly result: unknown } | { readonly failure: string };

/**
 * The program of a rank: runs `work` with a communicator, in a worker that `runRanks` started or in a process that `mpirun`
 * did. What it throws fails all ranks.
 */
export async function asRank(work: RankWork, options: RankOptions = {}): Promise<void> {
  checkFunction('work of asRank', work);
  checkOptions('asRank', options, ['runtime', 'seconds']);
  const { runtime: given = { threads: 1 }, seconds } = options;
  const port = portOfWorker();
  if (!port) {
    using runtime = await createRuntime(given);
    using opened = await communicator(runtime, { seconds });
    await work(opened, undefined as never);
    await runtime.finish();
    return;
  }
  const { board, rank, size, data, ...start } = await port.start();
  try {
    using runtime = await createRuntime(given);
    using opened = await openCommunicator(runtime, new ThreadTransport(board, rank, size), seconds ?? start.seconds);
    const result = await work(opened, data as never);
    await runtime.finish();
    endRank(board, rank, size);
    port.end({ result });
  } catch (error) {
    endRank(board, rank, size, reasonOf(error));
    port.end({ failure: reasonOf(error) });
  }
}

interface Port {
  start(): Promise<Start>;
  end(message: End): void;
}

/** The way to whoever started this worker; undefined in the main thread. */
function portOfWorker(): Port | undefined {
  const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
  if (node) {
    const { parentPort } = node;
    if (!parentPort) return undefined;
    const start = () => new Promise<Start>((resolve) => parentPort.once('message', resolve));
    return { start, end: (message) => parentPort.postMessage(message) };
  }
  if (!('WorkerGlobalScope' in globalThis)) return undefined;
  const scope = globalThis as unknown as Worker;
  const start = () =>
    new Promise<Start>((resolve) => {
      scope.addEventListener('message', ({ data }) => resolve(data), { once: true });
    });
  return { start, end: (message) => scope.postMessage(message) };
}

/** A worker of Node's or of a page's. */
interface AnyWorker {
  postMessage(message: unknown): void;
  terminate(): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: what it hears follows from the event.
  on?(event: string, listener: (value: any) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  addEventListener?(event: string, listener: (event: any) => void): void;
}

/**
 * Runs ranks as workers over shared memory; `open` starts one whose module calls `asRank`, such as
 * `() => new Worker(new URL('./rank.js', import.meta.url), { type: 'module' })`. Resolves to what each returned; rejects
 * with the first failure, and all workers have ended then.
 */
export async function runRanks<Result>(
  count: number,
  open: (rank: number) => AnyWorker,
  options: RunRanksOptions = {},
): Promise<Result[]> {
  checkWhole('count of runRanks', count, 1, 256);
  checkFunction('open of runRanks', open);
  checkOptions('runRanks', options, ['data', 'seconds', 'signal']);
  const { data, seconds, signal } = options;
  if (seconds !== undefined) checkSeconds(seconds);
  checkControl({ signal });
  const board = boardOf(count);
  const workers: AnyWorker[] = [];
  let stop = () => {};
  try {
    const ends = Array.from({ length: count }, (_, rank) => {
      const worker = open(rank);
      workers.push(worker);
      const end = endOf(worker);
      worker.postMessage({ board, rank, size: count, data, seconds } satisfies Start);
      return end.then((end) => {
        if ('result' in end) return end.result as Result;
        endRank(board, rank, count, end.failure);
        throw new BackendError(`rank ${rank}: ${end.failure}`);
      });
    });
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal?.reason);
      signal?.addEventListener('abort', stop);
    });
    return await Promise.race([aborted, allOf(ends)]);
  } finally {
    signal?.removeEventListener('abort', stop);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** For how long ranks may still say what they make of the failure of another. */
const GRACE_MILLISECONDS = 1000;

/** All results, or the failure that others follow from. */
async function allOf<Result>(ends: readonly Promise<Result>[]): Promise<Result[]> {
  const failures: string[] = [];
  for (const end of ends) end.catch(({ message }: Error) => failures.push(message));
  try {
    return await Promise.all(ends);
  } catch {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const grace = new Promise((resolve) => {
      timer = setTimeout(resolve, GRACE_MILLISECONDS);
    });
    await Promise.race([Promise.allSettled(ends), grace]);
    clearTimeout(timer);
    throw new BackendError(causeOf(failures) as string);
  }
}

/** How a worker ends, in whatever way. */
function endOf(worker: AnyWorker): Promise<End> {
  return new Promise((resolve) => {
    const fail = (reason: string) => resolve({ failure: reason });
    if (worker.on) {
      worker.on('message', resolve);
      worker.on('error', (error) => fail(reasonOf(error)));
      worker.on('exit', (code) => fail(`it ended with exit code ${code}`));
    } else {
      worker.addEventListener?.('message', ({ data }: MessageEvent<End>) => resolve(data));
      worker.addEventListener?.('error', (event: ErrorEvent) => {
        event.preventDefault();
        fail(event.message ?? 'its worker could not be loaded');
      });
    }
  });
}
