import { ParameterError } from '../errors';
import { describeMachine } from '../machine';
import { type BenchOptions, commandLine } from './options';
import type { BenchReport } from './report';
import { Runtimes, runtimeOptions } from './runtimes';
import type { Context, Suite } from './suite';

/** Runs a suite on runtimes that it makes and disposes. */
export async function runSuite(
  suite: Suite,
  options: BenchOptions,
  { runtimes = new Runtimes(), ...context }: Partial<Context> = {},
): Promise<BenchReport> {
  const unknown = options.only.find((name) => !suite.names(options).includes(name));
  if (unknown !== undefined) {
    throw new ParameterError(
      `--only of bench ${suite.name} must be among ${suite.names(options).join(', ')}, got '${unknown}'`,
    );
  }
  try {
    const rows = await suite.run({ runtimes, ...context }, options);
    if (rows.length === 0) {
      throw new ParameterError(`bench ${suite.name} has no row ${options.only.join(', ')} under these options`);
    }
    return {
      format: 'saccade bench',
      version: 1,
      suite: suite.name,
      summary: suite.summary,
      measures: suite.measures,
      ...(suite.ratio !== undefined && { ratio: suite.ratio }),
      machine: await describeMachine(),
      runtime: await runtimes.explain(runtimeOptions(options.threads, options.simd)),
      command: commandLine(suite.name, options, suite.defaults),
      rows,
    };
  } finally {
    await runtimes.dispose();
  }
}
