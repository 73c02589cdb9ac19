import { styleText } from 'node:util';
import { Command, InvalidArgumentError } from 'commander';
import { CARRIERS, type LinksOptions, type LinksReport, runLinks } from '../bench/links/run';
import { formatBytes, formatRatio } from '../text/format';
import { formatTable, right } from '../text/table';
import { interruptible } from './interrupt';
import { jsonOption, wholeNumber } from './options';
import { checkWritable, say, writeJson } from './write-file';

interface Options extends Omit<LinksOptions, 'signal'> {
  readonly json?: string;
}

export const LINKS = {
  name: 'links',
  summary: 'latency and rate of exchange between ranks on this machine: threads, MPI, and MPI from C',
};

const NAMES = { threads: 'threads', mpi: 'MPI', c: 'MPI from C' } as const;
const BYTES = [1024, 65_536, 2 ** 20, 2 ** 22, 2 ** 24];

export function linksCommand(): Command {
  return new Command(LINKS.name)
    .description(LINKS.summary)
    .option('--ranks <count>', 'how many ranks, each of which exchanges with its neighbours', wholeNumber(2, 64), 2)
    .option('--bytes <counts>', 'bytes of a message, in ascending order', ascending, BYTES)
    .option('--rounds <count>', 'the least time of so many counts', wholeNumber(1, 1000), 5)
    .addOption(jsonOption('what was measured, which simulate context-parallel --links takes,'))
    .addHelpText('after', '\nExample:\n  $ saccade bench links --json links.json')
    .action(async ({ json, ...options }: Options) => {
      if (json !== undefined) await checkWritable(json);
      const report = await interruptible((signal) => runLinks({ ...options, signal }));
      await writeJson(json, report);
      await say(textOf(report), json);
    });
}

function ascending(text: string): number[] {
  const counts = text.split(',').map(wholeNumber(4, 2 ** 28));
  if (counts.length > 1 && counts.every((count, at) => count % 4 === 0 && count > (counts[at - 1] ?? 0))) return counts;
  throw new InvalidArgumentError('It must be at least two multiples of 4, each larger than the one before.');
}

function textOf({ ranks, bytes, links, missing }: LinksReport): string {
  const measured = CARRIERS.filter((carrier) => links[carrier]);
  const rows = bytes.map((size, at) => [
    formatBytes(size),
    ...measured.map((carrier) => {
      const microseconds = links[carrier]?.microseconds[at] as number;
      return `${microseconds.toFixed(1)} us, ${(size / microseconds / 1e3).toFixed(2)} GB/s`;
    }),
  ]);
  const table = formatTable(['message', ...measured.map((carrier) => right(NAMES[carrier]))], rows);
  const [ours, theirs] = [links.mpi, links.c].map((link) => link?.microseconds.at(-1));
  const notes = [
    ...CARRIERS.flatMap((carrier) => (missing[carrier] ? `${NAMES[carrier]}: ${missing[carrier]}` : [])),
    ...(ours && theirs
      ? [`The largest message goes at ${formatRatio(theirs / ours)} the rate of the program in C.`]
      : []),
  ];
  return [styleText('bold', `${ranks} ranks, each sends to one and receives from one`), table, ...notes].join('\n\n');
}
