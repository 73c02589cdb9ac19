/**
 * The systems from npm that Saccade is measured against. They are in a separate package, `peers/`, with its own lock file,
 * and are installed on first use; each runs in its own process.
 */
import { execFile, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheFolder } from '../cache-folder';
import { UnsupportedError } from '../errors';
import type { Contender } from './contender';
import { givenOf } from './given';
import { memoryLimit, openPeer, PeerProcess } from './peer-process';
import { type Given, isKnownToPeers, type MaskName, type Problem } from './problem';

export interface PeerInfo {
  readonly label: string;
  /** How it computes attention. */
  readonly how: string;
  /** The masks it supports; default: all. */
  readonly masks?: readonly MaskName[];
}

const CAUSAL_ONLY = ['causal', 'window'] as const;

/** By the names of the modules in `peers/`. */
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

/** The peers that can compute a problem: `bench longca` has them under other masks. */
export function peersFor({ mask }: Problem): PeerName[] {
  const { name } = mask;
  if (!isKnownToPeers(name)) return [];
  return PEER_NAMES.filter((peer) => ((PEERS[peer] as PeerInfo).masks ?? [name]).includes(name));
}

/**
 * Installs the peers unless that is done: in the package's own folder in a checkout, otherwise in a copy of it in the user's
 * cache. Resolves to the folder.
 * @throws {UnsupportedError} if npm cannot fetch them
 */
export async function installPeers(say: (line: string) => void, signal?: AbortSignal): Promise<string> {
  const source = peersSource();
  const folder = isOwn(source) ? source : await copyToCache(source);
  const marker = join(folder, 'node_modules', '.installed');
  const wanted = await fingerprint(folder, ['package-lock.json']);
  if ((await readFile(marker, 'utf8').catch(() => '')) === wanted) return folder;
  say(`installing the peers into ${folder} (once, about 500 MB) ...`);
  await npm(folder, ['ci'], signal);
  // Its binaries for all platforms are optional packages, which no lock file has on all of them.
  await npm(folder, ['install', '--no-save', '--no-package-lock', '--omit=optional', ...LLAMA], signal).catch(
    (error) => {
      signal?.throwIfAborted();
      say(error.message);
    },
  );
  await writeFile(marker, wanted);
  return folder;
}

/** node-llama-cpp, and its binary for this machine. */
const LLAMA = ['node-llama-cpp', `@node-llama-cpp/${llamaPlatform()}`].map((name) => `${name}@3.22.0`);

function llamaPlatform(): string {
  const { platform, arch } = process;
  if (platform === 'darwin') return arch === 'arm64' ? 'mac-arm64-metal' : 'mac-x64';
  return `${platform === 'win32' ? 'win' : platform}-${arch}`;
}

/** A peer as a contender: a module of `folder`, which is where the peers are installed. */
export const peer = (name: string, folder: string, threads: number): Contender => hosted(name, folder, { threads });

/**
 * A module as a contender, of the peers in `folder` or at a URL, in a process that ends if it takes more than `memory` bytes;
 * default: most of what is free.
 */
export function hosted(name: string, folder: string, setting: object, memory?: number): Contender {
  return {
    name,
    open: async (task, signal) =>
      openPeer(startHost(folder, name, memory ?? memoryLimit()), givenOf(task), setting, signal),
  };
}

/** A peer on what it is given. */
export const openGiven = (name: string, folder: string, threads: number, given: Given, signal: AbortSignal) =>
  openPeer(startHost(folder, name, memoryLimit()), given, { threads }, signal);

/** Runs `host.mjs` in the peers' folder. */
function startHost(folder: string, name: string, memory: number): PeerProcess {
  const child = fork(join(folder, 'host.mjs'), [name, String(memory)], {
    cwd: folder,
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  return new PeerProcess(child);
}

/** The package's folder with the scripts that run peers; the peers may be installed into a copy of it. */
export function peersSource(): string {
  return join(packageRoot(), 'peers');
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

/** Whether peers may be installed into the folder: what is in node_modules belongs to a package manager. */
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

/** The flags are also in the folder's .npmrc, which npm leaves out of a published package. */
async function npm(folder: string, words: readonly string[], signal?: AbortSignal): Promise<void> {
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const options = { cwd: folder, shell: process.platform === 'win32', maxBuffer: Number.POSITIVE_INFINITY, signal };
  try {
    await promisify(execFile)('npm', [...words, ...flags], options);
  } catch (error) {
    signal?.throwIfAborted();
    const { code, stderr, message } = error as Error & { readonly code: unknown; readonly stderr: string };
    const reason = typeof code === 'number' ? `npm ${words[0]}: ${firstLine(stderr) ?? `exit code ${code}`}` : message;
    throw new UnsupportedError(
      `the peers could not be installed into ${folder}: ${reason}; a first --peers needs npm and a network`,
    );
  }
}

function firstLine(text: string): string | undefined {
  return text
    .split('\n')
    .map((line) => line.replace(/^npm (error|ERR!)\s*/, '').trim())
    .find((line) => line !== '' && !/^(code|syscall|errno) /.test(line));
}
