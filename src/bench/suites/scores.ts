import { pairedRatio, summarise } from '../../measure/statistics';
import { timeCalls } from '../../measure/timing';
import { type AttentionOptions, attention } from '../../ops/attention';
import type { Runtime } from '../../runtime/runtime';
import { additiveBias } from '../../scores';
import { hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { expectedResult } from '../expected';
import { gateOf } from '../gate';
import type { BenchOptions } from '../options';
import { type Inputs, inputsOf, MASKS, type Problem } from '../problem';
import type { BenchRow, Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { type Context, rowBy, type Suite } from '../suite';

const D = 64;
const COPY = 'copy';
/** What is measured of an additive bias, and the most that it may take, in times of a copy. */
const ROWS = {
  [COPY]: { label: 'copying its table' },
  made: { label: 'an additive bias made', atMost: 2 },
  first: { label: 'beyond a later call: the first', atMost: 4 },
  later: { label: 'beyond a call without: a later one', atMost: 3 },
} as const satisfies Record<string, { readonly label: string; readonly atMost?: number }>;
type Name = keyof typeof ROWS;
const NAMES = Object.keys(ROWS) as Name[];

/** Rows of one table, [1, h, n, n], each beside a copy of it. */
export const scoresSuite: Suite = {
  name: 'scores',
  summary: 'what an additive bias costs: made, in its first call and in later ones, beside a copy of its table',
  defaults: { n: [1024], heads: 8, threads: 1, simd: undefined, repeats: 15, only: [] },
  measures: ['time', 'spread', 'rounds', 'ratio', 'memory', 'error'],
  ratio: 'time over that of a copy of the table',
  names: () => NAMES,
  async *run(context, options) {
    for (const n of options.n) yield await measure(context, options, { n, h: options.heads, d: D, mask: MASKS.full });
  },
};

async function measure(
  { runtimes, signal, onProgress }: Context,
  options: BenchOptions,
  problem: Problem,
): Promise<BenchRow[]> {
  const { repeats, only } = options;
  const inputs = inputsOf(problem);
  const { n, h } = problem;
  const table = normal(h * n ** 2, 5);
  const bias = (head: number, query: number, key: number) => table[(head * n + query) * n + key] as number;
  const gate = await gateOf(problem, inputs, expectedResult(problem, inputs, bias));
  const runtime = await runtimes.get(runtimeOptions(options));
  const operands = operandsOf(runtime, problem, inputs);
  const times = Object.fromEntries(NAMES.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  try {
    let error = 0;
    let memory = 0;
    // The first round compiles and is not counted.
    for (let round = 0; round <= repeats; round++) {
      const sample = await sampleOf(runtime, problem, operands, table);
      if (round === 0) error = gate((await operands.out.read()) as Float32Array);
      else for (const name of NAMES) times[name].push(sample.times[name]);
      memory = Math.max(memory, sample.memory);
      onProgress?.(round / repeats);
    }
    const wanted = NAMES.filter((name) => name === COPY || only.length === 0 || only.includes(name));
    const rows = wanted.map((name) => {
      const { label, atMost }: { readonly label: string; readonly atMost?: number } = ROWS[name];
      const goal: Goal | undefined = atMost === undefined ? undefined : { measure: 'ratio', atMost };
      const { median: time, spread } = summarise(times[name]);
      const measured = { time, spread, rounds: repeats, ratio: pairedRatio(times[name], times[COPY]) };
      const measure = async () => ({ ...measured, ...(name !== COPY && { memory, error }) });
      return rowBy(scoresSuite, options, { name, label, problem, goal, narrow: { n: [n] } }, measure, signal);
    });
    return await Promise.all(rows);
  } finally {
    for (const tensor of Object.values(operands)) tensor.dispose();
  }
}

type Operands = Record<'q' | 'k' | 'v' | 'out', Tensor>;

function operandsOf(runtime: Runtime, { n, h, d }: Problem, inputs: Inputs): Operands {
  const rows = (numbers: Float32Array) => runtime.tensor(numbers, [1, n, h, d]);
  return { q: rows(inputs.q), k: rows(inputs.k), v: rows(inputs.v), out: rows(inputs.q.slice()) };
}

/** One round with a new score: milliseconds of each row, and the peak of the bytes held. */
async function sampleOf(
  runtime: Runtime,
  { n, h }: Problem,
  { q, k, v, out }: Operands,
  table: Float32Array,
): Promise<{ readonly times: Record<Name, number>; readonly memory: number }> {
  const call = (options: AttentionOptions) =>
    timeCalls(runtime, () => attention(q, k, v, { out, ...options }).lse.dispose());
  let copied = new Float32Array();
  const copy = await timeCalls(runtime, () => {
    copied = table.slice();
  });
  const made = await timeCalls(runtime, () => void additiveBias(hostTensor(copied, [1, h, n, n])));
  const score = additiveBias(hostTensor(table, [1, h, n, n]));
  const without = await call({});
  runtime.backend.resetPeak();
  const before = runtime.memory().peak;
  const first = await call({ score });
  const later = await call({ score });
  const memory = runtime.memory().peak - before;
  return { times: { [COPY]: copy, made, first: first - later, later: later - without }, memory };
}
