import { ParameterError } from '../errors';
import { describeMachine } from '../machine';
import { type BenchOptions, commandLine } from './options';
import type { BenchReport, BenchRow } from './report';
import { Runtimes, runtimeOptions } from './runtimes';
import type { Context, Suite } from './suite';

interface Settings extends Partial<Context> {
  /** Gets what has been measured so far, after each group of rows. */
  readonly onReport?: (report: BenchReport) => Promise<void>;
}

/** Runs a suite on runtimes that it makes and disposes. */
export async function runSuite(
  suite: Suite,
  options: BenchOptions,
  { runtimes = new Runtimes(), onReport, ...context }: Settings = {},
): Promise<BenchReport> {
  const unknown = options.only.find((name) => !suite.names(options).includes(name));
  if (unknown !== undefined) {
    throw new ParameterError(
      `--only of bench ${suite.name} must be among ${suite.names(options).join(', ')}, got '${unknown}'`,
    );
  }
  const rows: BenchRow[] = [];
  const { browser } = context;
  const report = async (complete: boolean): Promise<BenchReport> => ({
    format: 'saccade bench',
    version: 1,
    suite: suite.name,
    summary: suite.summary,
    measures: suite.measures.filter((name, at) => at === 0 || rows.some(({ measures }) => name in measures)),
    ...(suite.ratio !== undefined && { ratio: suite.ratio }),
    machine: browser?.machine ?? (await describeMachine()),
    runtime: browser?.facts ?? (await runtimes.explain(runtimeOptions(options.threads, options.simd))),
    ...(browser && { notes: browser.notes }),
    command: commandLine(suite.name, options, suite.defaults),
    complete,
    rows: [...rows],
  });
  try {
    for await (const group of suite.run({ runtimes, ...context }, options)) {
      rows.push(...group);
      await onReport?.(await report(false));
    }
    if (rows.length === 0) {
      throw new ParameterError(`bench ${suite.name} has no row ${options.only.join(', ')} under these options`);
    }
    return await report(true);
  } finally {
    await runtimes.dispose();
  }
}
