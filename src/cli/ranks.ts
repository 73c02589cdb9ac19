/** Commands over ranks: workers of this process, each of which runs the command on its share. */
import { Worker } from 'node:worker_threads';
import { type Command, Option } from 'commander';
import { runRanks } from '../cluster';
import { ParameterError } from '../errors';
import { PARALLEL, type Parallel } from '../models/decoder/over-ranks';
import type { RuntimeOptions } from '../ops/create-runtime';
import { wholeNumber } from './options';
import { withProgress } from './progress';

export interface RankOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly ranks?: number;
  readonly parallel?: Parallel;
}

/** What a worker is sent when the command is interrupted. */
export const STOP = 'stop';

const MOST_RANKS = 64;

export function rankOptions(command: Command, preset: Parallel): Command {
  return command
    .option(
      '--ranks <count>',
      'workers that share the work, each with --threads, or 1; default: none',
      wholeNumber(1, MOST_RANKS),
    )
    .addOption(
      new Option('--parallel <what>', `what ranks divide: rows, or the tokens of each; default: ${preset}`).choices(
        PARALLEL,
      ),
    );
}

/** What the first rank of a command returns; ranks are told what they divide. */
export async function onRanks<Result>(
  name: 'train' | 'perplexity',
  options: RankOptions,
  preset: Parallel,
): Promise<Result> {
  const { ranks = 1, backend = 'wasm', threads = 1, parallel = preset } = options;
  if (backend !== 'wasm' && backend !== 'auto')
    throw new ParameterError(`--ranks computes on wasm: leave out --backend, got ${backend}`);
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'mjs';
  const workers: Worker[] = [];
  const open = () => {
    const worker = new Worker(new URL(`./rank.${extension}`, import.meta.url), {
      workerData: { backend: 'wasm', threads },
    });
    workers.push(worker);
    return worker;
  };
  const data = { name, options: { ...options, parallel } };
  return await withProgress(`${name} on ${ranks} ranks`, async ({ signal }) => {
    // A training ends by itself, on all ranks after the same step.
    const endsItself = name === 'train';
    if (endsItself)
      signal.addEventListener('abort', () => {
        for (const worker of workers) worker.postMessage(STOP);
      });
    try {
      const [first] = await runRanks<Result>(ranks, open, { data, ...(!endsItself && { signal }) });
      return first as Result;
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
  });
}
