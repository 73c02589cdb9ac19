/** The processes that peers run in, so that none of them can crash the benchmark, and what they are asked. */
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { writeSafetensors } from '../io';
import type { Session } from './contender';
import type { Given } from './problem';

/** The share of the free memory that a peer may take before it is stopped. */
const MEMORY_SHARE = 0.75;

/** Bytes that a peer may take now. */
export const memoryLimit = (): number => Math.floor(freemem() * MEMORY_SHARE);

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

const running = new Set<PeerProcess>();
process.on('exit', () => {
  for (const child of running) child.kill();
});

/** A child process that answers one question at a time: in messages if it runs Node, otherwise in lines of JSON. */
export class PeerProcess {
  #child: ChildProcess;
  #asked = 0;
  #stderr = '';
  /** Takes the next reply. */
  #answer: (reply: Reply) => void = () => {};
  /** Rejects with the reason why the process ended. */
  #ended: Promise<never>;
  #fail: (reason: Error) => void = () => {};

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((_, reject) => {
      this.#fail = reject;
    });
    // It may end while nothing is asked.
    this.#ended.catch(() => running.delete(this));
    running.add(this);
    child.stderr?.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    child.once('close', (code, by) =>
      this.#fail(new Error(lastLine(this.#stderr) ?? `its process ended with ${by ?? `code ${code}`}`)),
    );
    child.once('error', this.#fail);
    // Writing to a child that is ending fails; another event says that it has ended.
    child.stdin?.on('error', () => {});
    child.on('message', (reply) => this.#answer(reply as Reply));
    if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => this.#hear(line));
  }

  /** Kills the child if the signal aborts first, since a computing child hears nothing else. */
  async ask<T>(question: string, parameters: object, signal: AbortSignal): Promise<T> {
    const asked = { id: ++this.#asked, question, ...parameters };
    let abort = () => {};
    const reply = new Promise<Reply>((resolve, reject) => {
      this.#answer = (given) => given.id === asked.id && resolve(given);
      abort = () => {
        this.kill();
        reject(signal.reason);
      };
    });
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    try {
      if (this.#child.send) this.#child.send(asked, () => {});
      else this.#child.stdin?.write(`${JSON.stringify(asked)}\n`);
      const { value, error } = await Promise.race([reply, this.#ended]);
      if (error !== undefined) throw new Error(error);
      return value as T;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #hear(line: string): void {
    try {
      this.#answer(JSON.parse(line) as Reply);
    } catch {
      this.#fail(new Error(`it said '${line.slice(0, 100)}' instead of an answer`));
      this.kill();
    }
  }
}

/** Prepares a peer for calls on what it is given, with this `setting`. The process ends with the session. */
export async function openPeer(
  process: PeerProcess,
  { tensors, settings }: Given,
  setting: object,
  signal: AbortSignal,
): Promise<Session> {
  try {
    const { threads, label } = await process.ask<Pick<Session, 'threads' | 'label'>>('open', setting, signal);
    // In files, which cost the child less than messages of 100 MB.
    await withFile(async (path) => {
      await writeFile(path, writeSafetensors(tensors));
      await process.ask('prepare', { inputs: path, ...settings }, signal);
    });
    return {
      threads,
      label,
      time: (calls, signal) => process.ask<number>('run', { calls }, signal),
      result: (signal) =>
        withFile(async (path) => {
          await process.ask('result', { path }, signal);
          return new Float32Array(Uint8Array.from(await readFile(path)).buffer);
        }),
      memory: async (signal) => (await process.ask<number | null>('memory', {}, signal)) ?? undefined,
      close: () => process.kill(),
    };
  } catch (error) {
    process.kill();
    throw error;
  }
}

/** The last line of an error's text that says what happened, without the stack and what Node adds. */
export function lastLine(stderr: string): string | undefined {
  const lines = stderr.split('\n').map((line) => line.trim());
  return lines.filter((line) => /error|memory/i.test(line) && !line.startsWith('at ')).at(-1);
}

/** Gives `work` the path of a temporary file, which is deleted afterwards. */
async function withFile<T>(work: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-bench-'));
  try {
    return await work(join(folder, 'numbers'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
