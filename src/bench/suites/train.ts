import { availableParallelism } from 'node:os';
import { inPage } from '../browser/contender';
import type { BrowserHost } from '../browser/host';
import type { BenchOptions } from '../options';
import { peer } from '../peers';
import { pytorch } from '../pytorch';
import type { BenchRow, Goal } from '../report';
import { type Context, type PlannedRow, type Suite, timedSuite } from '../suite';
import { memoryBound, tapeAndUpdate } from '../training-operations';
import { problemOfTraining, TRAININGS } from '../trainings';
import { rowOfProcess } from './memory';

const STEP = problemOfTraining('adamw');

/** How many times faster Saccade is. */
const times = (least: number): Goal => ({ measure: 'ratio', atLeast: least });

/** Modules of `peers/` in Node and in a page, and how much faster Saccade should be. */
const PEERS = [
  {
    name: 'jax-js',
    label: 'jax-js',
    how: 'jit of valueAndGrad, but for the rows of the embedding',
    here: { module: 'jax-js-training', goal: times(3.3) },
    inPage: { module: 'jax-js-training', goal: times(1.9) },
  },
  {
    name: 'tfjs',
    label: 'TensorFlow.js',
    how: 'WebAssembly: gradients written out',
    here: { module: 'tfjs-training', goal: times(4.5) },
    inPage: { module: 'tfjs-training-page', goal: times(4.5) },
  },
] as const;

/** Rows about a new process that takes one step. */
const PROCESSES = {
  memory: {
    label: 'held by a step',
    training: 'adamw',
    goal: { measure: 'memory', atMost: memoryBound(STEP, TRAININGS.adamw) },
  },
  process: { label: 'process of a step', training: 'adamw', goal: { measure: 'residentSet', atMost: 700e6 } },
  long: {
    label: 'process of a step, 8192 tokens, recomputed',
    training: 'long',
    goal: { measure: 'residentSet', atMost: 1e9 },
  },
} as const satisfies Record<string, { label: string; training: keyof typeof TRAININGS; goal: Goal }>;
const PROCESS_NAMES = Object.keys(PROCESSES) as (keyof typeof PROCESSES)[];

const PAGE_ROWS = ['step-wasm', ...PEERS.map(({ name }) => `${name}-wasm`)];
const HERE_ROWS = ['step', 'muon', 'overhead', ...PEERS.map(({ name }) => name), 'pytorch'];

const timed = timedSuite({
  name: 'train',
  summary: 'a training step of a decoder of 10M parameters: its speed, what tape and optimiser take, memory, and peers',
  defaults: {
    threads: availableParallelism(),
    simd: undefined,
    repeats: 5,
    limit: 600,
    peers: false,
    browser: false,
    only: [],
    inProcess: false,
  },
  measures: ['time', 'spread', 'rounds', 'rate', 'peakShare', 'memory', 'residentSet', 'ratio', 'error'],
  ratio:
    'time over that of the step with AdamW, in a browser of that in a page: of peers how many times faster Saccade is',
  ratioOf: 'time',
  names: ({ browser }) => (browser ? PAGE_ROWS : [...HERE_ROWS, ...PROCESS_NAMES]),
  groups: (options, { browser, peers }) => [browser ? pages(browser, peers, options) : steps(peers, options)],
});

/** The steps in turns, then a new process for each row that is about one. */
export const trainSuite: Suite = {
  ...timed,
  async *run(context, options) {
    const { only, inProcess, browser } = options;
    if (!inProcess) yield* timed.run(context, options);
    if (browser) return;
    for (const name of PROCESS_NAMES) {
      if (only.length > 0 && !only.includes(name)) continue;
      yield [await processRow(context, { ...options, peers: false, only: [name] }, name)];
    }
  },
};

function steps(peers: string | undefined, { threads }: BenchOptions): PlannedRow[] {
  const fromPeers = (folder: string): PlannedRow[] => [
    ...PEERS.map(({ name, label, how, here: { module, goal } }) => ({
      name,
      label,
      how,
      goal,
      problem: STEP,
      contender: peer(module, folder, threads),
    })),
    {
      name: 'pytorch',
      label: 'PyTorch',
      how: 'native code: autograd and its fused AdamW',
      problem: STEP,
      contender: pytorch('pytorch', folder, { backend: 'wasm', threads, script: 'pytorch_training.py' }),
    },
  ];
  return [
    { name: 'step', label: 'step with AdamW', problem: STEP, goal: { measure: 'peakShare', atLeast: 0.7 } },
    { name: 'muon', label: 'step with Muon', problem: problemOfTraining('muon') },
    {
      name: 'overhead',
      label: 'tape and AdamW alone',
      problem: { ...STEP, operation: tapeAndUpdate(TRAININGS.adamw) },
      goal: { measure: 'ratio', atMost: 0.05 },
    },
    ...(peers === undefined ? [] : fromPeers(peers)),
  ];
}

function pages(host: BrowserHost, peers: string | undefined, { threads, simd }: BenchOptions): PlannedRow[] {
  const row = (name: string, label: string, module?: string): PlannedRow => ({
    name,
    label,
    problem: STEP,
    hasPeak: false,
    contender: inPage(host, name, { peer: module, backend: 'wasm', threads, simd, training: 'adamw' }),
  });
  const fromPeers = PEERS.map(({ name, label, how, inPage: { module, goal } }) => ({
    ...row(`${name}-wasm`, label, module),
    how,
    goal,
  }));
  return [row('step-wasm', 'step with AdamW'), ...(peers === undefined ? [] : fromPeers)];
}

function processRow(context: Context, options: BenchOptions, name: keyof typeof PROCESSES): Promise<BenchRow> {
  const { label, training, goal } = PROCESSES[name];
  return rowOfProcess(context, trainSuite, options, { name, label, problem: problemOfTraining(training, 2), goal });
}
