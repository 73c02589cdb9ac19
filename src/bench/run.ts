import { ParameterError, UnsupportedError } from '../errors';
import { describeMachine } from '../machine';
import { type BenchOptions, commandLine } from './options';
import { type BenchReport, type BenchRow, IN_SOFTWARE } from './report';
import { Runtimes, runtimeOptions } from './runtimes';
import type { Context, Suite } from './suite';

interface Settings extends Partial<Context> {
  /** Gets what has been measured so far, after each group of rows. */
  readonly onReport?: (report: BenchReport) => Promise<void>;
}

const ON_GPU =
  'A GPU is given the calls of a sample in a row, which last until it has finished them all, whoever computes them.';

/** Throws for rows that the suite does not have and for options that do not go together. */
export function checkOptions(suite: Suite, options: BenchOptions): void {
  const { only, backend, browser, simd, threads } = options;
  const unknown = only.find((name) => !suite.names(options).includes(name));
  if (unknown !== undefined) {
    throw new ParameterError(
      `--only of bench ${suite.name} must be among ${suite.names(options).join(', ')}, got '${unknown}'`,
    );
  }
  if (backend !== 'webgpu') return;
  if (browser) throw new UnsupportedError('--browser measures wasm and webgpu beside each other: leave --backend out');
  if (simd !== undefined || threads !== suite.defaults.threads) {
    throw new UnsupportedError('--backend webgpu has no threads and no SIMD to choose: leave --threads and --simd out');
  }
}

/** Runs a suite on runtimes that it makes and disposes. */
export async function runSuite(
  suite: Suite,
  options: BenchOptions,
  { runtimes = new Runtimes(), onReport, ...context }: Settings = {},
): Promise<BenchReport> {
  checkOptions(suite, options);
  const rows: BenchRow[] = [];
  const { browser } = context;
  const settings = runtimeOptions(options);
  const gpu = options.backend === 'webgpu' ? { isSoftware: await runtimes.isSoftware(settings) } : undefined;
  const notesOf = (rows: readonly BenchRow[]) => {
    if (gpu) return [...(gpu.isSoftware ? [IN_SOFTWARE] : []), ON_GPU];
    return rows.some(({ name }) => name.endsWith('-webgpu')) ? browser?.notes : undefined;
  };
  const report = async (complete: boolean): Promise<BenchReport> => ({
    format: 'saccade bench',
    version: 1,
    suite: suite.name,
    summary: suite.summary,
    measures: suite.measures.filter((name, at) => at === 0 || rows.some(({ measures }) => name in measures)),
    ...(suite.ratio !== undefined && { ratio: suite.ratio }),
    machine: browser?.machine ?? (await describeMachine()),
    runtime: browser?.facts ?? (await runtimes.explain(settings)),
    notes: notesOf(rows),
    command: commandLine(suite.name, options, suite.defaults),
    complete,
    rows: [...rows],
  });
  try {
    for await (const group of suite.run({ runtimes, gpu, ...context }, options)) {
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
