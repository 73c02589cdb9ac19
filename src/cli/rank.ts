/** The worker of a rank of a command. */
import { parentPort, workerData } from 'node:worker_threads';
import { asRank, type Communicator } from '../cluster';
import type { LanguageOptions } from './language';
import { type RankOptions, STOP } from './ranks';
import type { TrainOptions } from './train-options';

type Work =
  | { readonly name: 'train'; readonly options: TrainOptions & Required<RankOptions> }
  | {
      readonly name: 'perplexity';
      readonly options: LanguageOptions & Required<RankOptions> & { readonly text: string };
    };

const stop = new AbortController();
parentPort?.on('message', (message) => {
  if (message === STOP) stop.abort();
});

await asRank(
  async (communicator: Communicator, { name, options }: Work) =>
    name === 'train'
      ? (await import('./training')).training(options, communicator, stop.signal)
      : (await import('./perplexity')).measured(options, communicator),
  { runtime: workerData },
);
