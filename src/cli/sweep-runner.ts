/** Runs the cases of a sweep in a process of their own, which may crash, hang or be killed without the worker. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import type { Job } from '../sweep/job';
import { checkJob } from './sweep-cases';

/** Characters of stderr that are kept. */
const KEPT = 20_000;
/** The exit codes of a case that wrote a report: all was measured, or what was not says why. */
const REPORTED = [0, 1];

interface RunnerSettings {
  /** Seconds that a case may take. */
  readonly limit: number;
  /** Bytes of the largest report that the server takes. */
  readonly mostBytes: number;
}

export class CaseRunner implements AsyncDisposable {
  #child: ChildProcess | undefined;
  #stderr = '';

  private constructor(
    readonly folder: string,
    readonly settings: RunnerSettings,
  ) {}

  static async create(settings: RunnerSettings): Promise<CaseRunner> {
    return new CaseRunner(await mkdtemp(join(tmpdir(), 'saccade-sweep-')), settings);
  }

  /**
   * The report of a job's case. A process goes on to the next case unless one failed in it.
   *
   * @throws {ParameterError} a job that is no case; {Error} why it failed, in the words of the command
   */
  async run(job: Job, signal: AbortSignal | undefined): Promise<unknown> {
    await checkJob(job);
    const file = join(this.folder, 'report.json');
    await rm(file, { force: true });
    const code = await this.#ask([...job.words, '--json', file], signal);
    if (!REPORTED.includes(code)) throw new Error(this.#reason(`exit code ${code}`));
    const { size } = await stat(file).catch(() => {
      throw new Error(this.#reason('it wrote no report'));
    });
    if (size > this.settings.mostBytes)
      throw new Error(`its report has ${size} bytes, and the server takes ${this.settings.mostBytes} (max_payload)`);
    return JSON.parse(await readFile(file, 'utf8'));
  }

  async #ask(words: readonly string[], signal: AbortSignal | undefined): Promise<number> {
    signal?.throwIfAborted();
    this.#child ??= this.#start();
    const child = this.#child;
    this.#stderr = '';
    const { limit } = this.settings;
    let ended = '';
    const end = (why: string) => {
      ended ||= why;
      child.kill('SIGKILL');
    };
    const abort = () => end('the worker was interrupted');
    signal?.addEventListener('abort', abort);
    const timer = setTimeout(() => end(`it took longer than ${limit} s`), 1000 * limit);
    const waiting = new AbortController();
    try {
      child.send({ words });
      const answered = once(child, 'message', waiting).then(([{ code }]) => code as number);
      const exited = once(child, 'exit', waiting).then(([code, by]) => {
        throw new Error(
          ended ||
            this.#reason(by === null ? `its process ended with code ${code}` : `its process was killed by ${by}`),
        );
      });
      const code = await Promise.race([answered, exited]);
      if (!REPORTED.includes(code)) end('');
      return code;
    } catch (error) {
      end('');
      this.#child = undefined;
      throw error;
    } finally {
      if (child.killed) this.#child = undefined;
      waiting.abort();
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  #start(): ChildProcess {
    const program = new URL(`./sweep-child${extname(import.meta.url)}`, import.meta.url);
    const child = fork(program, [], { execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    child.on('error', () => {});
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT);
    });
    return child;
  }

  /** The last thing it said, or else `otherwise`. */
  #reason(otherwise: string): string {
    const lines = this.#stderr.split('\n').filter((line) => line.trim() !== '');
    const said = lines
      .reverse()
      .find((line) => line.startsWith('saccade: '))
      ?.slice('saccade: '.length);
    const last = said ?? lines.slice(0, 3).reverse().join(' ');
    return last === '' ? otherwise : last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child?.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }
}
