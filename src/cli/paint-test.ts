import { Command } from 'commander';
import { checkChoices, isRecord } from '../check';
import { ParameterError, ParseError } from '../errors';
import { estimateMean } from '../measure/statistics';
import { createRuntime } from '../ops/create-runtime';
import { auroc } from '../pipelines/metrics';
import type { PaintSettings } from '../pipelines/paint/paint';
import type { PruneOptions } from '../pipelines/paint/prune';
import { type Arms, type Outcome, pairsOf, shareOf, type TriedPrompt, tried } from '../pipelines/paint/trial';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { earlierRun } from './earlier-run';
import { wholeNumber } from './options';
import { mapperOf, type SamplerOptions, samplerOptions, settingsOf, studioIn } from './paint-options';
import { withProgress } from './progress';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface TestOptions extends SamplerOptions {
  readonly prompts: number;
  readonly ways: readonly WayName[];
  readonly out?: string;
  readonly resume?: true;
}

const WIDTH = 100;
/** The share of places that is left out unless --prune says another. */
const HALF = 0.5;

/** What is painted beside plain pictures. */
const WAYS = {
  chosen: (options) => ({ mapper: mapperOf(options) }),
  moved: (options) => ({ mapper: mapperOf(options, 'moved') }),
  pruned: (options) => ({ prune: pruneOf(options, 'simprune') }),
  merged: (options) => ({ prune: pruneOf(options, 'merge') }),
  'chosen-pruned': (options) => ({ mapper: mapperOf(options), prune: pruneOf(options, 'simprune') }),
} satisfies Record<string, (options: SamplerOptions) => PaintSettings>;
type WayName = keyof typeof WAYS;
const NAMES = Object.keys(WAYS) as WayName[];

const EXAMPLES = `
Each prompt has two subjects and is painted plainly, with first noises that the latent mapper chose or moved, with half of the places
pruned or merged in self-attention, and with both, from the same first noise. A classifier tells whether both subjects are there.

Examples:
  $ saccade paint test --prompts 200 --out paint-test.json
  $ saccade paint test --prompts 200 --out paint-test.json --resume
  $ saccade paint test --ways chosen --prompts 50`;

export function paintTestCommand(): Command {
  return samplerOptions(new Command('test').description('how often pictures have both subjects, by ways to paint'))
    .option('--prompts <count>', 'prompts of two subjects', wholeNumber(2, 100_000), 200)
    .option('--ways <names>', `of ${NAMES.join(', ')}`, wayNames, NAMES)
    .option('--out <file>', 'write all figures as JSON, after each prompt')
    .option('--resume', 'go on after the last prompt in the file')
    .addHelpText('after', EXAMPLES)
    .action(testPainter);
}

function wayNames(text: string): readonly WayName[] {
  const names = text.split(',').map((each) => each.trim());
  checkChoices('ways', names, NAMES);
  return names as WayName[];
}

const pruneOf = (options: SamplerOptions, way: PruneOptions['way']) => ({
  ...settingsOf({ ...options, prune: options.prune ?? HALF }).prune!,
  way,
});

async function testPainter({ prompts: count, out, resume, backend, threads, ways, ...options }: TestOptions) {
  if (resume && out === undefined) throw new ParameterError('--resume needs --out, the file to go on with');
  if (out !== undefined) await checkWritable(out);
  const { seed, steps, guidance } = options;
  const plain = { steps, guidance };
  const arms: Arms = {
    plain,
    ...Object.fromEntries(ways.map((name) => [name, { ...plain, ...WAYS[name](options) }])),
  };
  const settings = { prompts: count, seed, arms, weights: options.weights };
  const found = out === undefined ? undefined : await earlierRun(out, { settings }, resume === true, RUN);
  const rows = found ? rowsOf(out as string, found.rows, arms) : [];
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  using studio = await studioIn(runtime, options.weights);
  const write = async (more: object = {}) => {
    if (out !== undefined) await writeFileAtomic(out, `${JSON.stringify({ settings, ...more, rows }, undefined, 2)}\n`);
  };
  const outcomes = await withProgress('painting', (control) =>
    tried(studio, pairsOf(studio.words, count, seed), arms, seed, {
      ...control,
      earlier: [...rows],
      async onPrompt(row) {
        rows.push(row);
        await write();
      },
    }),
  );
  const told = Object.entries(outcomes).map(([name, outcome]) => figuresOf(name, outcome, outcomes.plain as Outcome));
  await write({ arms: told });
  await say(report(told, count, out), out);
}

const RUN = { run: 'test', settings: 'settings', place: 'file' };

function rowsOf(path: string, rows: unknown, arms: Arms): TriedPrompt[] {
  const isFound = (each: unknown) =>
    isRecord(each) &&
    typeof each.present === 'boolean' &&
    ['passes', 'milliseconds'].every((name) => Number.isFinite(each[name])) &&
    (each.score === undefined || Number.isFinite(each.score));
  const isRow = (row: unknown) => {
    const found = isRecord(row) ? row.found : undefined;
    return isRecord(found) && Object.keys(arms).every((name) => isFound(found[name]));
  };
  if (!Array.isArray(rows) || !rows.every(isRow))
    throw new ParseError(`${path} must have rows, as saccade paint test writes them: delete it to begin anew`);
  return [...rows];
}

export const TRIAL_COLUMNS = ['way', 'both present', 'interval', 'points more', 'scores tell', 'cost', 'time'];

/** By way to paint. */
export const trialCells = (told: readonly ReturnType<typeof figuresOf>[]): string[][] =>
  told.map(({ name, share, low, high, gain, telling, cost, time }) => [
    name,
    formatPercent(share),
    `${formatPercent(low)} to ${formatPercent(high)}`,
    gain ? `${points(gain.value)} (${points(gain.low)} to ${points(gain.high)})` : '',
    telling === undefined ? '' : significant(telling),
    significant(cost),
    significant(time),
  ]);

/** What the columns are. */
export const trialNotes = (count: number): string =>
  `Over ${count} prompts of two subjects, with intervals of 95% (Wilson's; of differences, those of pairs). Scores tell how often, of a plain picture with both subjects and one without, the former has the better scores of its first noise: 0.5 by chance. Cost is passes through the network, one back counted as two, and time that of the processor, both over those of plain painting.`;

function report(told: readonly ReturnType<typeof figuresOf>[], count: number, out: string | undefined): string {
  const [first = '', ...columns] = TRIAL_COLUMNS;
  return [
    formatTable([first, ...columns.map((name) => right(name))], trialCells(told)),
    '',
    wrap(trialNotes(count), WIDTH),
    ...(out === undefined ? [] : [`Written: ${printable(out)}`]),
  ].join('\n');
}

const points = (share: number) => `${share < 0 ? '-' : '+'}${significant(100 * Math.abs(share))}`;

/** AUROC of scores, the lower the better, for whether plain pictures have both subjects; undefined where all have, or none. */
function tellingOf(scores: readonly number[], present: readonly boolean[]): number | undefined {
  if (present.every((each) => each === present[0])) return undefined;
  return auroc(
    scores.map((score) => -score),
    present.map(Number),
  );
}

function figuresOf(name: string, outcome: Outcome, plain: Outcome) {
  const differences = outcome.present.map((own, at) => Number(own) - Number(plain.present[at]));
  return {
    name,
    ...shareOf(outcome.present),
    ...(outcome !== plain && { gain: estimateMean(differences) }),
    ...(outcome.scores && { telling: tellingOf(outcome.scores, plain.present) }),
    passes: outcome.passes,
    cost: outcome.passes / plain.passes,
    time: outcome.milliseconds / plain.milliseconds,
    milliseconds: outcome.milliseconds,
  };
}
