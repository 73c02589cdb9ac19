import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { checkResult } from '../../measure/gate';
import { summarise } from '../../measure/statistics';
import { lastLine } from '../child';
import { known } from '../expected';
import type { BenchOptions } from '../options';
import { packageRoot } from '../peers';
import { MASKS, type Problem } from '../problem';
import type { BenchRow, Goal } from '../report';
import { type Context, rowBy, type Suite } from '../suite';

const within = (milliseconds: number): Goal => ({ measure: 'time', atMost: milliseconds });

/** A row about new processes. */
interface Start {
  readonly label: string;
  readonly goal?: Goal;
  readonly problem: Problem;
  /** Most processes that are started; default: as many as there are rounds. */
  readonly most?: number;
  /** What one new process takes. */
  measure(problem: Problem, options: BenchOptions, signal: AbortSignal | undefined): Promise<BenchRow['measures']>;
}

/** The problem of rows that compute nothing. */
const NOTHING: Problem = { n: 0, h: 0, d: 0, mask: MASKS.full };
const SHORT: Problem = { n: 1024, h: 8, d: 64, mask: MASKS.full };
const LONG: Problem = { n: 262_144, h: 1, d: 64, mask: MASKS.causal };

const STARTS = {
  help: {
    label: 'saccade --help',
    goal: within(150),
    problem: NOTHING,
    measure: (_, __, signal) => timeOf([commandLine(), '--help'], signal),
  },
  list: {
    label: 'saccade list',
    problem: NOTHING,
    measure: (_, __, signal) => timeOf([commandLine(), 'list'], signal),
  },
  import: {
    label: "import 'saccade'",
    problem: NOTHING,
    measure: (_, options, signal) => runIn('give({ time: imported });', options, signal),
  },
  runtime: {
    label: 'createRuntime',
    goal: within(40),
    problem: NOTHING,
    measure: (_, options, signal) =>
      runIn(
        `const start = performance.now();
await saccade.createRuntime({ threads });
give({ time: performance.now() - start });`,
        options,
        signal,
      ),
  },
  attention: {
    label: 'first attention',
    goal: within(80),
    problem: SHORT,
    measure: (problem, options, signal) =>
      firstCalls(problem, options, signal, { op: 'attention(q, k, v)', keys: problem.n, calls: 1 }),
  },
  lightning: {
    label: 'first causal linear attention beside later ones',
    goal: { measure: 'ratio', atMost: 1.5 },
    problem: LONG,
    measure: (problem, options, signal) =>
      firstCalls(problem, options, signal, {
        op: 'linearAttention(q, k, v, { causal: true, decay: [0.99] })',
        keys: CHECKED,
        calls: 6,
      }),
  },
  main: {
    label: 'npm start',
    goal: within(12_000),
    problem: { ...NOTHING, n: 4096 },
    most: 3,
    measure: (_, __, signal) => inFolder((folder) => timeOf([commandLine(), ...comparison(folder)], signal)),
  },
} as const satisfies Record<string, Start>;
type StartName = keyof typeof STARTS;

/** Each round of a row is a new process. */
export const startSuite: Suite = {
  name: 'start',
  summary: 'what comes before the first result: commands, import, a runtime, first calls, and the whole of npm start',
  defaults: { threads: availableParallelism(), repeats: 10, only: [] },
  measures: ['time', 'spread', 'rounds', 'ratio', 'error'],
  ratio: 'time of the first call over the median of later ones in its process',
  names: () => Object.keys(STARTS),
  async *run(context, options) {
    for (const name of Object.keys(STARTS) as StartName[]) {
      if (options.only.length === 0 || options.only.includes(name)) yield [await rowOf(name, context, options)];
    }
  },
};

function rowOf(name: StartName, { signal, onProgress }: Context, options: BenchOptions): Promise<BenchRow> {
  const { label, problem, goal, most = Number.POSITIVE_INFINITY, measure }: Start = STARTS[name];
  const all = async () => {
    const rounds = Math.min(most, options.repeats);
    const measured: BenchRow['measures'][] = [];
    while (measured.length < rounds) {
      signal?.throwIfAborted();
      measured.push(await measure(problem, options, signal));
      onProgress?.(measured.length / rounds, label);
    }
    const of = (key: 'time' | 'ratio' | 'error') => measured.flatMap((each) => each[key] ?? []);
    const { median: time, spread } = summarise(of('time'));
    const [ratios, errors] = [of('ratio'), of('error')];
    return {
      time,
      ...(rounds > 1 && { spread }),
      rounds,
      ...(ratios.length > 0 && { ratio: summarise(ratios).median }),
      ...(errors.length > 0 && { error: Math.max(...errors) }),
    };
  };
  return rowBy(startSuite, options, { name, label, problem, ...(goal && { goal }) }, all, signal);
}

const commandLine = () => join(packageRoot(), 'dist/cli/bin.mjs');
const comparison = (folder: string) => [
  ...['compare', '--html', join(folder, 'report.html')],
  ...['--json', join(folder, 'report.json')],
];

/** A new process of Node with these words: what it prints. */
async function processOf(words: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  try {
    return (await promisify(execFile)(process.execPath, words, { signal, maxBuffer: 2 ** 28 })).stdout;
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(lastLine(error as Error));
  }
}

/** The milliseconds from the start of a process to its end. */
async function timeOf(words: readonly string[], signal: AbortSignal | undefined): Promise<{ time: number }> {
  const start = performance.now();
  await processOf(words, signal);
  return { time: performance.now() - start };
}

/** What a program in a new process gives, which has imported the library as `saccade` in `imported` milliseconds. */
async function runIn<T>(program: string, { threads }: BenchOptions, signal: AbortSignal | undefined): Promise<T> {
  const library = pathToFileURL(join(packageRoot(), 'dist/index.mjs')).href;
  const text = `const threads = ${threads};
const begin = performance.now();
const saccade = await import(${JSON.stringify(library)});
const imported = performance.now() - begin;
const give = (value) => process.stdout.write(JSON.stringify(value), () => process.exit());
${program}`;
  return JSON.parse(await processOf(['--input-type=module', '--eval', text], signal));
}

/** Calls of an op on a new runtime's q, k and v; its first tokens are checked after it was timed, since nothing may come before. */
async function firstCalls(
  { n, h, d }: Problem,
  options: BenchOptions,
  signal: AbortSignal | undefined,
  { op, keys, calls }: { readonly op: string; readonly keys: number; readonly calls: number },
) {
  const { times, got, expected } = await runIn<Readonly<Record<'times' | 'got' | 'expected', number[]>>>(
    `const op = (q, k, v) => saccade.${op};
const runtime = await saccade.createRuntime({ threads });
const inputs = [1, 2, 3].map((seed) => runtime.random([1, ${n}, ${h}, ${d}], { seed }));
const times = [];
let out;
for (let call = 0; call < ${calls}; call++) {
  out?.dispose();
  await runtime.finish();
  const start = performance.now();
  out = op(...inputs).out;
  await runtime.finish();
  times.push(performance.now() - start);
}
const exact = await saccade.createRuntime({ backend: 'reference' });
const firstOf = async (x, count) => exact.fromHost(await x.slice(1, 0, count).toHost());
const [q, k, v] = inputs;
const first = op(await firstOf(q, ${CHECKED}), await firstOf(k, ${keys}), await firstOf(v, ${keys})).out;
const numbers = async (x) => [...(await x.read())];
give({ times, got: await numbers(await firstOf(out, ${CHECKED})), expected: await numbers(first) });`,
    options,
    signal,
  );
  const error = checkResult('it', got, [known(expected, 'largest result')]);
  const [time, ...later] = times as [number, ...number[]];
  return { time, ...(later.length > 0 && { ratio: time / summarise(later).median }), error };
}

/** Tokens whose results are checked. */
const CHECKED = 32;

/** Gives `work` the path of a temporary folder, which is deleted afterwards. */
async function inFolder<T>(work: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-bench-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
