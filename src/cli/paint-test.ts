import { Command } from 'commander';
import { estimateMean } from '../measure/statistics';
import { createRuntime } from '../ops/create-runtime';
import { type Arms, type Outcome, pairsOf, shareOf, tried } from '../pipelines/paint/trial';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { formatTable, right } from '../text/table';
import { wholeNumber } from './options';
import { mapperOf, type SamplerOptions, samplerOptions, settingsOf, studioIn } from './paint-options';
import { withProgress } from './progress';
import { checkWritable, say, writeFileAtomic } from './write-file';

interface TestOptions extends SamplerOptions {
  readonly prompts: number;
  readonly out?: string;
}

const EXAMPLES = `
Each prompt has two subjects and is painted plainly, with the latent mapper, with half of the places pruned or merged in
self-attention, and with both, from the same first noise. A classifier tells whether both subjects are there.

Examples:
  $ saccade paint test --prompts 200 --out paint-test.json`;

/** The share of places that is left out unless --prune says another. */
const HALF = 0.5;

export function paintTestCommand(): Command {
  return samplerOptions(new Command('test').description('how often pictures have both subjects, by ways to paint'))
    .option('--prompts <count>', 'prompts of two subjects', wholeNumber(2, 100_000), 200)
    .option('--out <file>', 'write all figures as JSON')
    .addHelpText('after', EXAMPLES)
    .action(testPainter);
}

function armsOf(options: SamplerOptions): Arms {
  const { steps, guidance } = settingsOf(options);
  const plain = { steps, guidance };
  const mapper = mapperOf(options);
  const { prune } = settingsOf({ ...options, prune: options.prune ?? HALF });
  return {
    plain,
    'latent mapper': { ...plain, mapper },
    pruned: { ...plain, prune: { ...prune!, way: 'simprune' } },
    merged: { ...plain, prune: { ...prune!, way: 'merge' } },
    'latent mapper, pruned': { ...plain, mapper, prune: { ...prune!, way: 'simprune' } },
  };
}

async function testPainter({ prompts: count, out, backend, threads, ...options }: TestOptions): Promise<void> {
  if (out !== undefined) await checkWritable(out);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const studio = await studioIn(runtime, options.weights);
  const prompts = pairsOf(studio.words, count, options.seed);
  const arms = armsOf(options);
  const found = await withProgress('painting', (control) => tried(studio, prompts, arms, options.seed, control));
  studio.dispose();
  const told = Object.entries(found).map(([name, outcome]) => figuresOf(name, outcome, found.plain as Outcome));
  if (out !== undefined) {
    const { seed, steps, guidance } = options;
    const settings = { prompts: count, seed, steps, guidance, mapper: mapperOf(options), prune: options.prune ?? HALF };
    await writeFileAtomic(out, `${JSON.stringify({ settings, arms: told }, undefined, 2)}\n`);
  }
  const rows = told.map(({ name, share, low, high, gain, cost, time }) => [
    name,
    formatPercent(share),
    `${formatPercent(low)} to ${formatPercent(high)}`,
    gain ? `${points(gain.value)} (${points(gain.low)} to ${points(gain.high)})` : '',
    significant(cost),
    significant(time),
  ]);
  const columns = ['way', right('both present'), right('interval'), right('points more'), right('cost'), right('time')];
  await say(
    [
      formatTable(columns, rows),
      '',
      `Over ${count} prompts of two subjects, with intervals of 95% (Wilson's; of differences, those of pairs). Cost is passes through`,
      'the network, one back counted as two, and time that of the processor, both over those of plain painting.',
      ...(out === undefined ? [] : [`Written: ${printable(out)}`]),
    ].join('\n'),
    out,
  );
}

const points = (share: number) => `${share < 0 ? '-' : '+'}${significant(100 * Math.abs(share))}`;

function figuresOf(name: string, outcome: Outcome, plain: Outcome) {
  const differences = outcome.present.map((own, at) => Number(own) - Number(plain.present[at]));
  return {
    name,
    ...shareOf(outcome.present),
    ...(outcome !== plain && { gain: estimateMean(differences) }),
    passes: outcome.passes,
    cost: outcome.passes / plain.passes,
    time: outcome.milliseconds / plain.milliseconds,
    milliseconds: outcome.milliseconds,
  };
}
