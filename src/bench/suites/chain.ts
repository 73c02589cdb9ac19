import { summarise } from '../../measure/statistics';
import { chain, chainArithmetic, chainGradients, OPS } from '../chain-operations';
import { type Entry, Measurement, type Outcome, PATIENCE } from '../measure';
import { commandLine } from '../options';
import { MASKS, rowOf } from '../problem';
import type { BenchRow, Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import type { Suite } from '../suite';

const KINDS = [
  { name: 'arithmetic', label: 'one op on as many numbers', operation: chainArithmetic(false) },
  { name: 'chain', label: 'chain', operation: chain(false), beside: 0 },
  { name: 'behind', label: 'behind a long op, one op on as many numbers', operation: chainArithmetic(true) },
  { name: 'queued', label: 'behind a long op, chain', operation: chain(true), beside: 2 },
  { name: 'by-hand', label: 'gradients of the chain, by hand', operation: chainGradients(false) },
  { name: 'tape', label: 'gradients of the chain, by the tape', operation: chainGradients(true), beside: 4 },
] as const;
const THREADS = [1, 2] as const;
/** Milliseconds an op may cost beyond its arithmetic. */
const GOALS: Readonly<Record<string, Goal>> = {
  'chain-1': { measure: 'overhead', atMost: 0.003 },
  'queued-2': { measure: 'overhead', atMost: 0.005 },
  'tape-1': { measure: 'overhead', atMost: 0.002 },
};

const nameOf = (kind: string, threads: number) => `${kind}-${threads}`;

/** For each number of threads a chain in both ways, beside its arithmetic. */
export const chainSuite: Suite = {
  name: 'chain',
  summary: `a chain of ${OPS} ops on 1024 numbers each: what an op costs beside its arithmetic, and what a tape adds`,
  defaults: { simd: undefined, repeats: 15, only: [] },
  measures: ['time', 'spread', 'rounds', 'overhead', 'error'],
  names: () => THREADS.flatMap((threads) => KINDS.map(({ name }) => nameOf(name, threads))),
  async *run({ runtimes, patience, ...control }, options) {
    const { only, simd, repeats, limit } = options;
    const measurement = new Measurement(runtimes, repeats, { ...PATIENCE, limit: 1000 * limit, ...patience });
    for (const threads of THREADS) {
      const asked = KINDS.filter(({ name }) => only.length === 0 || only.includes(nameOf(name, threads)));
      // And what those are beside.
      const besides = asked.flatMap((kind) => ('beside' in kind ? [kind.beside as number] : []));
      const kinds = KINDS.filter((kind, at) => asked.includes(kind) || besides.includes(at));
      if (kinds.length === 0) continue;
      const contender = saccade(runtimes, runtimeOptions({ threads, simd }));
      const entries: Entry[] = kinds.map(({ operation }) => ({
        contender,
        problem: { n: 1, h: 1, d: 1024, mask: MASKS.full, operation },
        hasPeak: false,
      }));
      const outcomes = await measurement.run(entries, control);
      yield kinds.map(({ name: kind, label, ...rest }, at): BenchRow => {
        const name = nameOf(kind, threads);
        const command = commandLine(chainSuite.name, { ...options, only: [name] }, chainSuite.defaults);
        const common = { name, label, ...rowOf((entries[at] as Entry).problem), threads, command };
        const outcome = outcomes[at] as Outcome;
        const beside = 'beside' in rest ? outcomes[kinds.indexOf(KINDS[rest.beside])] : undefined;
        if (outcome.status !== 'ok') return { ...common, ...outcome, measures: {} };
        const { times, error } = outcome;
        const { median: time, spread } = summarise(times);
        const besides = beside?.status === 'ok' ? beside.times : [];
        const costs = besides.map((ms, round) => ((times[round] as number) - ms) / OPS);
        return {
          ...common,
          status: 'ok',
          measures: {
            ...{ time, spread, rounds: times.length, error },
            ...(costs.length > 0 && { overhead: summarise(costs).median }),
          },
          ...(GOALS[name] && { goal: GOALS[name] }),
        };
      });
    }
  },
};
