/** Latency and rate of exchange between ranks on this machine: over threads, over MPI, and over MPI from a program in C. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { runRanks } from '../../cluster';
import { launchRanks } from '../../cluster/launch';
import { UnsupportedError } from '../../errors';
import { describeMachine, type Machine } from '../../machine';
import type { Link } from '../../simulate/context-parallel';
import { reasonOf } from '../../text/reason';
import type { LinkCase, LinkPlan } from './measure';

export const CARRIERS = ['threads', 'mpi', 'c'] as const;
type Carrier = (typeof CARRIERS)[number];

interface LinkResult extends Link {
  /** Microseconds of one exchange, in the order of `bytes` of the report. */
  readonly microseconds: readonly number[];
}

export interface LinksReport {
  readonly format: 'saccade bench links';
  readonly version: 1;
  readonly machine: Machine;
  readonly ranks: number;
  readonly bytes: readonly number[];
  /** MPI's, else that over threads: for `simulate context-parallel --links`. */
  readonly within: Link | undefined;
  readonly links: Readonly<Partial<Record<Carrier, LinkResult>>>;
  /** Why there is no result of a carrier. */
  readonly missing: Readonly<Partial<Record<Carrier, string>>>;
}

export interface LinksOptions {
  readonly ranks: number;
  /** Bytes of a message: multiples of 4 in ascending order. */
  readonly bytes: readonly number[];
  readonly rounds: number;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes that are exchanged in each round of a case, about. */
const ROUND_BYTES = 2 ** 26;
const MOST_IN_ROUND = 200;

const caseOf = (bytes: number): LinkCase => ({
  bytes,
  count: Math.max(2, Math.min(MOST_IN_ROUND, Math.floor(ROUND_BYTES / bytes))),
});

export async function runLinks(options: LinksOptions): Promise<LinksReport> {
  const { ranks, bytes, rounds } = options;
  const plan = { rounds, cases: bytes.map(caseOf) };
  const links: Partial<Record<Carrier, LinkResult>> = {};
  const missing: Partial<Record<Carrier, string>> = {};
  for (const carrier of CARRIERS) {
    try {
      const microseconds = await MEASURES[carrier](ranks, plan, options.signal);
      links[carrier] = { ...linkOf(bytes, microseconds), microseconds };
    } catch (error) {
      options.signal?.throwIfAborted();
      missing[carrier] = reasonOf(error);
    }
  }
  const best = links.mpi ?? links.threads;
  const within = best && { seconds: best.seconds, bytesPerSecond: best.bytesPerSecond };
  return {
    format: 'saccade bench links',
    version: 1,
    machine: await describeMachine(),
    ranks,
    bytes,
    within,
    links,
    missing,
  };
}

type Measure = (ranks: number, plan: LinkPlan, signal: AbortSignal | undefined) => Promise<number[]>;

const RANK = new URL('./rank.mjs', import.meta.url);

const MEASURES: Readonly<Record<Carrier, Measure>> = {
  async threads(ranks, data, signal) {
    const all = await runRanks<number[]>(ranks, () => new Worker(RANK), { data, signal });
    return all[0] as number[];
  },

  async mpi(ranks, plan, signal) {
    let told = '';
    const onLine = (_rank: unknown, stream: string, line: string) => {
      if (stream === 'stdout') told = line;
    };
    const words = [fileURLToPath(RANK), JSON.stringify(plan)];
    await launchRanks({ ranks, words, onLine, signal });
    return JSON.parse(told);
  },

  async c(ranks, { rounds, cases }, signal) {
    const folder = await mkdtemp(join(tmpdir(), 'saccade-links-'));
    try {
      const program = join(folder, 'links');
      const source = fileURLToPath(new URL('./links.c', import.meta.url));
      await promisify(execFile)('mpicc', ['-O2', '-o', program, source]).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        throw new UnsupportedError('mpicc is not installed, which compiles the program in C that MPI is held against');
      });
      const lines: number[] = [];
      const onLine = (rank: number | undefined, stream: string, line: string) => {
        if (rank === 0 && stream === 'stdout') lines.push(Number(line));
      };
      const words = [String(rounds), ...cases.flatMap(({ bytes, count }) => [String(bytes), String(count)])];
      await launchRanks({ ranks, program, words, onLine, signal });
      return lines;
    } finally {
      await rm(folder, { recursive: true });
    }
  },
};

/** The latency is what the smallest message takes; the rate is that of the largest beyond it. */
function linkOf(bytes: readonly number[], microseconds: readonly number[]): Link {
  const [first, last] = [microseconds[0] as number, microseconds.at(-1) as number];
  const seconds = first / 1e6;
  const rest = Math.max(1e-9, (last - first) / 1e6);
  return { seconds, bytesPerSecond: ((bytes.at(-1) as number) - (bytes[0] as number)) / rest };
}
