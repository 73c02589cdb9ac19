/**
 * The systems that Saccade is measured against. They live in a package of their own, `peers/`, with a lock file of its
 * own, and are installed on first use. Each runs in a child process, so that none of them can take the benchmark down.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { freemem, tmpdir } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../cache-folder';
import { UnsupportedError } from '../errors';
import type { Band } from '../masks/band';
import type { Contender, Session } from './contender';
import type { MaskName, Problem } from './problem';

export interface PeerInfo {
  readonly label: string;
  /** How it computes attention. */
  readonly how: string;
  /** The masks it can be asked for; default: all. */
  readonly masks?: readonly MaskName[];
}

const CAUSAL_ONLY = ['causal', 'window'] as const;

/** Names are those of the modules in `peers/`. */
export const PEERS = {
  tfjs: { label: 'TensorFlow.js', how: 'WebAssembly: matmul, softmax, matmul' },
  'jax-js': { label: 'jax-js', how: 'WebAssembly: nn.dotProductAttention' },
  'onnxruntime-web': { label: 'onnxruntime-web', how: 'WebAssembly: MultiHeadAttention' },
  'onnxruntime-web-gqa': {
    label: 'onnxruntime-web GQA',
    how: 'WebAssembly: GroupQueryAttention, which is always causal',
    masks: CAUSAL_ONLY,
  },
  'onnxruntime-node': { label: 'onnxruntime-node', how: 'native code: MultiHeadAttention' },
  'onnxruntime-node-gqa': {
    label: 'onnxruntime-node GQA',
    how: 'native code: GroupQueryAttention, which is always causal',
    masks: CAUSAL_ONLY,
  },
  'ruvector-attention-wasm': {
    label: 'ruvector-attention-wasm',
    how: 'WebAssembly: scaled_dot_attention, one call for each head and query',
  },
} as const satisfies Record<string, PeerInfo>;
export type PeerName = keyof typeof PEERS;
export const PEER_NAMES = Object.keys(PEERS) as PeerName[];

/** The peers that can be asked for a problem with a mask that options name. */
export function peersFor({ mask }: Problem): PeerName[] {
  const name = mask.name as MaskName;
  return PEER_NAMES.filter((peer) => ((PEERS[peer] as PeerInfo).masks ?? [name]).includes(name));
}

/** Of the memory that is free, the share that a peer may take before it is stopped. */
const MEMORY_SHARE = 0.75;

/**
 * Installs the peers unless they are: in the package's own folder in a checkout, else in a copy of it in the user's
 * cache. Resolves to the folder.
 * @throws {UnsupportedError} if npm cannot fetch them
 */
export async function installPeers(say: (line: string) => void, signal?: AbortSignal): Promise<string> {
  const source = join(packageRoot(), 'peers');
  const folder = isOwn(source) ? source : await copyToCache(source);
  const marker = join(folder, 'node_modules', '.installed');
  const wanted = await fingerprint(folder, ['package-lock.json']);
  if ((await readFile(marker, 'utf8').catch(() => '')) === wanted) return folder;
  say(`installing the peers into ${folder} (once, about 500 MB) ...`);
  await npmCi(folder, signal);
  await writeFile(marker, wanted);
  return folder;
}

/** A peer as a contender; `folder` is where the peers are installed. */
export function peer(name: PeerName, folder: string, threads: number): Contender {
  return {
    name,
    async open({ problem, inputs }, signal): Promise<Session> {
      const process = new PeerProcess(folder, name);
      const file = await writeInputs([inputs.q, inputs.k, inputs.v]);
      try {
        const used = await process.ask<{ threads: number }>('open', { threads }, signal);
        const { n, h, d } = problem;
        await process.ask('prepare', { inputs: file.path, n, h, d, ...reachOf(problem) }, signal);
        return {
          threads: used.threads,
          time: (calls, signal) => process.ask<number>('run', { calls }, signal),
          result: (signal) => process.ask<Float32Array>('result', {}, signal),
          memory: (signal) => process.ask<number>('memory', {}, signal),
          close: () => process.kill(),
        };
      } catch (error) {
        process.kill();
        throw error;
      } finally {
        await file.remove();
      }
    },
  };
}

/** How peers are told the mask. */
function reachOf({ mask, h, g = h, backward = false }: Problem): Pick<Band, 'left' | 'right'> {
  if (!('left' in mask && 'right' in mask) || g !== h || backward) {
    throw new UnsupportedError(`peers are asked for forward passes of bands on equal heads only, got ${mask.name}`);
  }
  const { left, right } = mask as Band;
  return { left, right };
}

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

const running = new Set<PeerProcess>();
process.on('exit', () => {
  for (const child of running) child.kill();
});

/** A child process that runs `host.mjs` in the peers' folder and answers one question at a time. */
class PeerProcess {
  #child: ChildProcess;
  #asked = 0;
  #stderr = '';
  /** Why it ended, once it has. */
  #end?: Error;

  constructor(folder: string, name: PeerName) {
    const limit = Math.floor(freemem() * MEMORY_SHARE);
    this.#child = fork(join(folder, 'host.mjs'), [name, String(limit)], {
      cwd: folder,
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    running.add(this);
    this.#child.once('close', (code, by) => {
      running.delete(this);
      this.#end ??= new Error(lastLine(this.#stderr) ?? `its process ended with ${by ?? `code ${code}`}`);
    });
    this.#child.once('error', (error) => {
      this.#end = error;
    });
  }

  /** Kills the child if the signal aborts first: a computing child hears nothing else. */
  ask<T>(question: string, parameters: object, signal: AbortSignal): Promise<T> {
    const id = ++this.#asked;
    const child = this.#child;
    return new Promise<T>((resolve, reject) => {
      const settle = (act: () => void) => {
        signal.removeEventListener('abort', abort);
        child.off('message', answer);
        child.off('close', ended);
        child.off('error', ended);
        act();
      };
      const answer = (reply: Reply) => {
        if (reply.id !== id) return;
        settle(() => (reply.error === undefined ? resolve(reply.value as T) : reject(new Error(reply.error))));
      };
      const ended = () => settle(() => reject(this.#end));
      const abort = () => {
        this.kill();
        settle(() => reject(signal.reason));
      };
      if (signal.aborted) return abort();
      if (this.#end) return ended();
      signal.addEventListener('abort', abort);
      child.on('message', answer);
      child.on('close', ended);
      child.on('error', ended);
      // A child that is ending cannot be written to; that it has ended is told by its own event.
      child.send({ id, question, ...parameters }, () => {});
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** The last line of an error's text that says what happened, without the stack and what Node adds. */
function lastLine(stderr: string): string | undefined {
  const lines = stderr.split('\n').map((line) => line.trim());
  return lines.filter((line) => /error|memory/i.test(line) && !line.startsWith('at ')).at(-1);
}

/** Writes arrays behind one another into a temporary file: cheaper for the child than messages of 100 MB. */
async function writeInputs(arrays: readonly Float32Array[]): Promise<{ path: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-bench-'));
  const path = join(folder, 'inputs.f32');
  const bytes = arrays.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
  await writeFile(path, bytes);
  return { path, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** The folder of this package, whether this module was bundled or not. */
export function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      if (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).name === 'saccade') return folder;
    } catch {
      if (folder === dirname(folder)) throw new UnsupportedError('the folder of the package saccade was not found');
    }
  }
}

/** Whether the folder may be installed into: a package manager owns what lies in node_modules. */
function isOwn(folder: string): boolean {
  if (folder.split(sep).includes('node_modules')) return false;
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function copyToCache(source: string): Promise<string> {
  const names = (await readdir(source)).filter((name) => name !== 'node_modules').sort();
  const folder = join(cacheFolder(), `peers-${(await fingerprint(source, names)).slice(0, 12)}`);
  await mkdir(folder, { recursive: true });
  for (const name of names) await copyFile(join(source, name), join(folder, name));
  return folder;
}

async function fingerprint(folder: string, names: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const name of names) hash.update(name).update(await readFile(join(folder, name)));
  return hash.digest('hex');
}

/** Flags stand here and in the folder's .npmrc: npm leaves that file out of a published package. */
function npmCi(folder: string, signal?: AbortSignal): Promise<void> {
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = spawn('npm', ['ci', ...flags], {
    cwd: folder,
    shell: process.platform === 'win32',
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(signal && { signal }),
  });
  return new Promise((resolve, reject) => {
    let complaint = '';
    npm.stderr.on('data', (text) => {
      complaint += text;
    });
    const fail = (reason: string) =>
      reject(
        new UnsupportedError(
          `the peers could not be installed into ${folder}: ${reason}; a first --peers needs npm and a network`,
        ),
      );
    npm.once('error', (error) => (signal?.aborted ? reject(signal.reason) : fail(error.message)));
    npm.once('close', (code) =>
      code === 0 ? resolve() : fail(`npm ci: ${firstLine(complaint) ?? `exit code ${code}`}`),
    );
  });
}

function firstLine(text: string): string | undefined {
  return text
    .split('\n')
    .map((line) => line.replace(/^npm (error|ERR!)\s*/, '').trim())
    .find((line) => line !== '' && !/^(code|syscall|errno) /.test(line));
}
