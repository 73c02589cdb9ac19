import { styleText } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { isRecord, show } from '../check';
import { ParseError } from '../errors';
import { drawLengths, LENGTH_TABLES, type LengthTable } from '../masks/longca-lengths';
import type { ContextParallelReport, ContextParallelRow } from '../report/context-parallel-view';
import { htmlPage } from '../report/page';
import {
  type ContextParallelSettings,
  contiguousImbalance,
  MECHANISMS,
  simulateContextParallel,
} from '../simulate/context-parallel';
import { formatBytes, formatPercent, formatRatio, formatTime } from '../text/format';
import { formatTable, right } from '../text/table';
import { jsonOption, wholeNumber } from './options';
import { MOST_SETTINGS, readBytes } from './read-tensors';
import { checkWritable, isStdout, tell, writeFileAtomic } from './write-file';

interface ContextParallelOptions {
  readonly devices: readonly number[];
  readonly tokens?: number;
  readonly tokensPerDevice: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly d: number;
  readonly mask: 'causal' | 'full';
  readonly window?: number;
  readonly documents?: LengthTable;
  readonly seed: number;
  readonly node: number;
  readonly within: number;
  readonly withinLatency: number;
  readonly between: number;
  readonly betweenLatency: number;
  readonly rate: number;
  readonly links?: string;
  readonly html?: string;
  readonly json?: string;
}

const LETTERS = { ulysses: 'U', ring: 'R', 'all-gather': 'A', usp: 'S', loongtrain: 'L', edges: 'E' } as const;
const MOST_DEVICES = 4096;
const MOST_TOKENS = 100e6;
/** Tokens of the map of winners. */
const LENGTHS = [8, 32, 128, 512, 2048, 8192, 32_768, 97_656].map((k) => k * 1024);

export function simulateContextParallelCommand(): Command {
  const devices = (text: string) => text.split(',').map(wholeNumber(1, MOST_DEVICES));
  return new Command('context-parallel')
    .description(
      'what attention over several devices sends, holds and takes, by mechanism, and which is the cheapest where',
    )
    .option('--devices <counts>', 'how many devices', devices, [2, 8, 32, 128, 512, 2048])
    .option('--tokens <count>', 'tokens of all devices together', wholeNumber(1, MOST_TOKENS))
    .option('--tokens-per-device <count>', 'the same for each device', wholeNumber(1, MOST_TOKENS), 8192)
    .option('--heads <count>', 'query heads', wholeNumber(1, 4096), 64)
    .option('--key-heads <count>', 'key/value heads', wholeNumber(1, 4096), 8)
    .option('--d <columns>', 'columns of a head', wholeNumber(1, 4096), 128)
    .addOption(new Option('--mask <name>', 'which keys a query sees').choices(['causal', 'full']).default('causal'))
    .addOption(
      new Option('--window <keys>', 'how many keys before its own a query sees, in one document')
        .argParser(wholeNumber(0, MOST_TOKENS))
        .conflicts(['mask', 'documents']),
    )
    .addOption(new Option('--documents <table>', "documents of the benchmark's lengths").choices([...LENGTH_TABLES]))
    .option('--seed <number>', 'of the documents', wholeNumber(0, 2 ** 32 - 1), 0)
    .option('--node <count>', 'devices of a node', wholeNumber(1, MOST_DEVICES), 8)
    .option('--within <GB/s>', 'each way, between devices of a node', positive, 450)
    .option('--within-latency <us>', 'microseconds of a message there', positive, 5)
    .option('--between <GB/s>', 'each way for each device, between nodes', positive, 50)
    .option('--between-latency <us>', 'microseconds of a message there', positive, 10)
    .option('--rate <TFLOP/s>', 'attention on one device', positive, 600)
    .option(
      '--links <file>',
      'links within a node that `saccade bench links --json` measured, in the place of those above',
    )
    .option('--html <file>', 'write a page with a plot of the cheapest')
    .addOption(jsonOption('the report'))
    .addHelpText('after', '\nExample:\n  $ saccade simulate context-parallel --devices 8,64 --tokens 1048576')
    .action(async ({ json, html, ...given }: ContextParallelOptions) => {
      for (const path of [json, html]) if (path !== undefined) await checkWritable(path);
      const options = given.links === undefined ? given : { ...given, ...(await measuredLinks(given.links)) };
      const report = reportOf(options);
      if (html !== undefined)
        await writeFileAtomic(
          html,
          htmlPage({ title: 'Attention over many devices', view: 'context-parallel', data: report }),
        );
      if (html !== undefined && (await isStdout(html))) process.stderr.write(`${textOf(report)}\n`);
      else await tell(() => textOf(report), json, report);
    });
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** Ranks of processes are what a node has, and threads what a page has. */
const CARRIERS = ['mpi', 'threads'] as const;

/** The links within a node that a file of `saccade bench links --json` has: those of MPI, or else of threads. */
async function measuredLinks(path: string): Promise<Pick<ContextParallelOptions, 'within' | 'withinLatency'>> {
  const refuse = (what: string) => new ParseError(`${path}: ${what}, as \`saccade bench links --json\` writes it`);
  const found = parsed(new TextDecoder().decode(await readBytes(path, MOST_SETTINGS)));
  const links = isRecord(found) ? found.links : undefined;
  if (!isRecord(links)) throw refuse(`links must be an object, got ${show(links)}`);
  const carrier = CARRIERS.find((name) => links[name] !== undefined);
  if (carrier === undefined) throw refuse(`links must have ${CARRIERS.join(' or ')}, got neither`);
  const link = links[carrier];
  const numberAt = (name: 'seconds' | 'bytesPerSecond') => {
    const value = isRecord(link) ? link[name] : undefined;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    throw refuse(`${name} of links.${carrier} must be a number above 0, got ${show(value)}`);
  };
  return { within: numberAt('bytesPerSecond') / 1e9, withinLatency: numberAt('seconds') * 1e6 };
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

function settingsOf(options: ContextParallelOptions, devices: number, tokens: number): ContextParallelSettings {
  const { heads, keyHeads, d, mask, window, documents, seed, node } = options;
  return {
    devices,
    tokens,
    heads,
    keyHeads,
    d,
    node,
    causal: mask === 'causal',
    ...(window !== undefined && { window }),
    ...(documents && { documents: drawLengths(tokens, seed, documents) }),
    within: { seconds: options.withinLatency * 1e-6, bytesPerSecond: options.within * 1e9 },
    between: { seconds: options.betweenLatency * 1e-6, bytesPerSecond: options.between * 1e9 },
    flopsPerSecond: options.rate * 1e12,
  };
}

function reportOf(options: ContextParallelOptions): ContextParallelReport {
  const { documents, ...oneDocument } = options;
  const rows = options.devices.map((devices): ContextParallelRow => {
    const tokens = options.tokens ?? devices * options.tokensPerDevice;
    const settings = settingsOf(options, devices, tokens);
    return {
      devices,
      tokens,
      contiguous: contiguousImbalance(settings),
      mechanisms: simulateContextParallel(settings),
    };
  });
  const { heads, keyHeads, d, mask, window, node, rate, links } = options;
  const { within, withinLatency, between, betweenLatency } = options;
  const attention = window === undefined ? `${mask} attention` : `attention to ${window} keys before each query`;
  const setting = [
    `${heads} query heads and ${keyHeads} key/value heads of ${d} columns, ${attention}, nodes of ${node} devices.`,
    `${links === undefined ? 'Assumed' : 'Measured'} links within a node: ${within.toPrecision(3)} GB/s each way and ${withinLatency.toPrecision(3)} µs a message; assumed between nodes: ${between.toPrecision(3)} GB/s and ${betweenLatency.toPrecision(3)} µs; attention at ${rate.toPrecision(3)} TFLOP/s on a device.`,
  ];
  return { setting, rows, cheapest: cheapestOf(oneDocument) };
}

/** The cheapest mechanism of one document by devices and tokens. */
function cheapestOf(options: ContextParallelOptions): ContextParallelReport['cheapest'] {
  return Array.from({ length: 12 }, (_, at) => 2 ** (at + 1)).flatMap((devices) =>
    LENGTHS.filter((tokens) => tokens >= devices).map((tokens) => {
      const [best, next] = simulateContextParallel(settingsOf(options, devices, tokens));
      const runs = best && !best.refused ? best : undefined;
      const ratio = runs && next && !next.refused ? next.seconds / runs.seconds : undefined;
      return { devices, tokens, mechanism: runs?.mechanism, seconds: runs?.seconds, ratio };
    }),
  );
}

function textOf(report: ContextParallelReport): string {
  return [...report.rows.map(rowText), mapText(report)].join('\n\n');
}

function rowText({ devices, tokens, contiguous, mechanisms }: ContextParallelRow): string {
  const title = `${styleText('bold', `${devices} devices`)}, ${tokens} tokens`;
  const headers = [
    'heads x tokens',
    'sent forward',
    'backward',
    'held',
    'computing',
    'exchange',
    'not hidden',
    'both passes',
  ];
  const table = formatTable(
    ['', ...headers.map(right), ''],
    mechanisms.map(({ mechanism, ulysses, ring, forward, backward, seconds, refused }) => [
      mechanism,
      `${ulysses} x ${ring}`,
      ...[forward, backward].map(({ elementsSent }) => `${(elementsSent / 1e6).toFixed(1)} M`),
      formatBytes(Math.round(backward.bytesHeld)),
      ...(['computing', 'exchange', 'exposed'] as const).map((part) =>
        formatTime(1e3 * (forward[part] + backward[part])),
      ),
      refused ? '-' : formatTime(1e3 * seconds),
      refused ?? '',
    ]),
  );
  const padding = Math.max(...mechanisms.map(({ padding }) => padding));
  const notes = [
    `Runs of tokens in the place of zigzag give the busiest device ${formatRatio(contiguous)} the mean's work.`,
    ...(padding > 0 ? [`Padding adds up to ${formatPercent(padding)}.`] : []),
  ];
  return `${title}\n\n${table}\n\n${notes.join(' ')}`;
}

/** The cheapest mechanism by devices and tokens, one letter each. */
function mapText({ cheapest }: ContextParallelReport): string {
  const name = (tokens: number) => (tokens < 2 ** 20 ? `${tokens / 1024}K` : `${Math.round(tokens / 2 ** 20)}M`);
  const counts = [...new Set(cheapest.map(({ devices }) => devices))];
  const table = formatTable(
    ['devices', ...LENGTHS.map((tokens) => right(name(tokens)))],
    counts.map((count) => [
      String(count),
      ...LENGTHS.map((length) => {
        const found = cheapest.find(({ devices, tokens }) => devices === count && tokens === length);
        return found ? (found.mechanism ? LETTERS[found.mechanism] : '-') : '';
      }),
    ]),
  );
  const legend = MECHANISMS.map((mechanism) => `${LETTERS[mechanism]} ${mechanism}`).join(', ');
  return `${styleText('bold', 'The cheapest')}, one document: ${legend}\n\n${table}`;
}
