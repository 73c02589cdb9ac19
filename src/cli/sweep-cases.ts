/** The cases of a sweep: what a command of bench or reproduce measures, a job for each value of each list that it was given. */
import { Command, CommanderError } from 'commander';
import { PAGE_PEER_NAMES } from '../bench/browser/rows';
import { type BenchOptions, commandWords } from '../bench/options';
import { PEER_NAMES } from '../bench/peers';
import { PYTORCH_NAMES } from '../bench/pytorch';
import { plansOf } from '../bench/quality/run';
import { checkOptions } from '../bench/run';
import type { Suite } from '../bench/suite';
import { suites } from '../bench/suites';
import { ParameterError, UnsupportedError } from '../errors';
import { findMeasured } from '../experiments';
import { isDynamic } from '../methods/sparse/longca/settings';
import type { Case, Job } from '../sweep/job';
import { runsInPages } from '../sweep/page-case';
import { suiteCommand } from './bench';
import { GPU, type LongCaOptions, longCaCommand, longCaWords } from './bench-longca';
import { type QualityCommandOptions, qualityCommand, qualityWords } from './bench-quality';
import { findMethodOrMask } from './methods';
import { type ReproduceOptions, reproduceCommand } from './reproduce';

const EXPECTED =
  'a case must be a command of bench or reproduce, of a suite, quality or longca, such as bench attention --n 1024,4096 --masks causal';
const OURS = 'saccade';
/** Options whose values become jobs of their own. */
const LISTS = ['n', 'd', 'masks', 'cached', 'types', 'only'] as const satisfies readonly (keyof BenchOptions)[];
const MOST_CASES = 100_000;

/**
 * The cases that a command names, such as `bench attention --n 1024,4096`.
 *
 * @throws {ParameterError} another command, bad options; {UnsupportedError} what a worker does not do for others
 */
export async function casesOf(words: readonly string[]): Promise<Case[]> {
  const found: Case[] = [];
  const take = async (cases: readonly Case[]) => {
    found.push(...cases);
  };
  const root = new Command()
    .helpCommand(false)
    .helpOption(false)
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {}, outputError: () => {} });
  const refuse = () => {
    throw new ParameterError(EXPECTED);
  };
  const bench = new Command('bench').copyInheritedSettings(root).argument('[suite]').action(refuse);
  for (const suite of suites) {
    const command = suiteCommand(suite, (_, options, files) => {
      // By default a worker uses all cores of its own machine, not as many as this one has.
      const own = command.getOptionValueSource('threads') === 'cli' && { threads: 0 };
      return take(benchCases(suite, options, { files, defaults: { ...suite.defaults, ...own } }));
    });
    bench.addCommand(command.copyInheritedSettings(root));
  }
  bench.addCommand(qualityCommand(async (options) => take(await qualityCases(options))).copyInheritedSettings(root));
  const longCa = longCaCommand((options, command) =>
    take(longCaCases(options, command.getOptionValueSource('threads') === 'cli')),
  );
  bench.addCommand(longCa.copyInheritedSettings(root));
  const reproduce = reproduceCommand(async (name, options) => take(reproduceCases(name, options)));
  root.addCommand(bench).addCommand(reproduce.copyInheritedSettings(root)).argument('[words...]').action(refuse);
  try {
    await root.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    throw new ParameterError(error.message.replace(/^error: /, ''));
  }
  if (found.length === 0) refuse();
  return found;
}

/** Throws unless the words of a job are those of one case, as this command writes them: whoever put it into the queue. */
export async function checkJob({ words }: Job): Promise<void> {
  const [only, ...more] = await casesOf(words);
  if (more.length > 0 || JSON.stringify(only?.words) !== JSON.stringify(words))
    throw new ParameterError('the job is not one case, as saccade sweep submit writes it');
}

function benchCases(
  suite: Suite,
  options: BenchOptions,
  { files, defaults }: { readonly files: object; readonly defaults: Partial<BenchOptions> },
): Case[] {
  refuseFiles(files);
  const { peers, browser, only, backend } = options;
  const others: readonly string[] = [...PEER_NAMES, ...PAGE_PEER_NAMES, ...PYTORCH_NAMES];
  const other = only.find((name) => others.includes(name));
  if (peers || other !== undefined)
    throw new UnsupportedError(`a sweep measures Saccade alone: leave ${other ?? '--peers'} out`);
  if (browser)
    throw new UnsupportedError(
      'in a sweep pages are workers: open the page of saccade sweep serve instead of --browser',
    );
  checkOptions(suite, options);
  const lists = LISTS.filter((name) => suite.defaults[name] !== undefined && options[name].length > 0);
  const all = lists.reduce<BenchOptions[]>(
    (cases, name) => limited(cases.flatMap((each) => options[name].map((value) => ({ ...each, [name]: [value] })))),
    [options],
  );
  return all.map((each) => {
    const words = commandWords(suite.name, each, defaults);
    return { words, needs: runsInPages(words) ? `page-${backend === 'webgpu' ? 'webgpu' : 'cpu'}` : needsOf(backend) };
  });
}

async function qualityCases({ resume, json, html, ...options }: QualityCommandOptions): Promise<Case[]> {
  refuseFiles({ resume, json, html });
  const { tasks, seeds, firstSeed = 1, backend, params } = options;
  // By their names only: modules would run on the machines of others.
  const methods = [...new Set(options.methods.split(',').map((name) => findMethodOrMask(name.trim()).name))];
  plansOf({ ...options, methods: methods.map(findMethodOrMask) });
  return limited(
    tasks.flatMap((task) =>
      methods.flatMap((method) =>
        Array.from({ length: seeds }, (_, at): Case => {
          const own = params?.[method] === undefined ? undefined : { [method]: params[method] };
          const one = { ...options, params: own, methods: method, tasks: [task], seeds: 1, firstSeed: firstSeed + at };
          return { words: [...qualityWords(one), ...placeWords(options)], needs: needsOf(backend) };
        }),
      ),
    ),
  );
}

/** A job for each length, mask, pair of heads and contender. */
function longCaCases({ csv, json, html, resume, ...options }: LongCaOptions, hasThreads: boolean): Case[] {
  refuseFiles({ csv, json, html, resume });
  const { n, sparse, masks, heads, only, peers, budget, threads } = options;
  const contenders = only.length > 0 ? only : [OURS];
  const other = contenders.find((name) => name !== OURS && name !== GPU);
  if (peers || other !== undefined)
    throw new UnsupportedError(`a sweep measures Saccade alone: leave ${other ?? '--peers'} out`);
  if (budget !== undefined) throw new UnsupportedError('a case of a sweep has no --budget: each is measured whole');
  const placed = { ...options, sparse: [], threads: hasThreads ? threads : undefined };
  return limited(
    [...new Set([...n, ...sparse])].flatMap((tokens) =>
      masks
        .filter((mask) => n.includes(tokens) || isDynamic({ mask }))
        .flatMap((mask) =>
          heads.flatMap((pair) =>
            contenders.map(
              (name): Case => ({
                words: longCaWords({ ...placed, n: [tokens], masks: [mask], heads: [pair], only: [name] }),
                needs: name === GPU ? 'webgpu' : 'cpu',
              }),
            ),
          ),
        ),
    ),
  );
}

function reproduceCases(name: string, { json, html, resume, quick, ...place }: ReproduceOptions): Case[] {
  refuseFiles({ json, html, resume });
  const words = ['reproduce', findMeasured(name).id, ...(quick ? ['--quick'] : []), ...placeWords(place)];
  return [{ words, needs: needsOf(place.backend) }];
}

const needsOf = (backend: string | undefined) => (backend === 'webgpu' ? 'webgpu' : 'cpu');

function placeWords({ backend, threads }: Pick<ReproduceOptions, 'backend' | 'threads'>): string[] {
  return [
    ...(backend === undefined || backend === 'auto' ? [] : ['--backend', backend]),
    ...(threads === undefined ? [] : ['--threads', String(threads)]),
  ];
}

/** A job writes no files: what it measures is in the results of the sweep. */
function refuseFiles(files: object): void {
  for (const [name, value] of Object.entries(files))
    if (value !== undefined)
      throw new UnsupportedError(`a case of a sweep has no --${name}: saccade sweep collect writes files`);
}

function limited<T>(cases: T[]): T[] {
  if (cases.length <= MOST_CASES) return cases;
  throw new ParameterError(`a sweep may have up to ${MOST_CASES} cases at once, got ${cases.length}`);
}
