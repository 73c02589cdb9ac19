import { styleText } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { drawLengths, LENGTH_TABLES, type LengthTable } from '../masks/longca-lengths';
import {
  type ContextParallelSettings,
  contiguousImbalance,
  MECHANISMS,
  type MechanismCost,
  simulateContextParallel,
} from '../simulate/context-parallel';
import { formatBytes, formatPercent, formatRatio, formatTime } from '../text/format';
import { formatTable, right } from '../text/table';
import { wholeNumber } from './options';

interface ContextParallelOptions {
  readonly devices: readonly number[];
  readonly tokens?: number;
  readonly tokensPerDevice: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly d: number;
  readonly mask: 'causal' | 'full';
  readonly documents?: LengthTable;
  readonly seed: number;
  readonly node: number;
  readonly within: number;
  readonly withinLatency: number;
  readonly between: number;
  readonly betweenLatency: number;
  readonly rate: number;
  readonly json?: true;
}

interface Row {
  readonly devices: number;
  readonly tokens: number;
  /** The most work of a device beside the mean, if each takes a run of tokens. */
  readonly contiguous: number;
  readonly mechanisms: readonly MechanismCost[];
}

const LETTERS = { ulysses: 'U', ring: 'R', 'all-gather': 'A', usp: 'S', loongtrain: 'L' } as const;
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
    .addOption(new Option('--documents <table>', "documents of the benchmark's lengths").choices([...LENGTH_TABLES]))
    .option('--seed <number>', 'of the documents', wholeNumber(0, 2 ** 32 - 1), 0)
    .option('--node <count>', 'devices of a node', wholeNumber(1, MOST_DEVICES), 8)
    .option('--within <GB/s>', 'each way, between devices of a node', positive, 450)
    .option('--within-latency <us>', 'microseconds of a message there', positive, 5)
    .option('--between <GB/s>', 'each way for each device, between nodes', positive, 50)
    .option('--between-latency <us>', 'microseconds of a message there', positive, 10)
    .option('--rate <TFLOP/s>', 'attention on one device', positive, 600)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ saccade simulate context-parallel --devices 8,64 --tokens 1048576')
    .action(({ json, ...options }: ContextParallelOptions) => {
      const rows = options.devices.map((count) =>
        rowOf(options, count, options.tokens ?? count * options.tokensPerDevice),
      );
      process.stdout.write(`${json ? JSON.stringify({ rows }, undefined, 2) : textOf(rows, options)}\n`);
    });
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

function settingsOf(options: ContextParallelOptions, devices: number, tokens: number): ContextParallelSettings {
  const { heads, keyHeads, d, mask, documents, seed, node } = options;
  return {
    devices,
    tokens,
    heads,
    keyHeads,
    d,
    node,
    causal: mask === 'causal',
    ...(documents && { documents: drawLengths(tokens, seed, documents) }),
    within: { seconds: options.withinLatency * 1e-6, bytesPerSecond: options.within * 1e9 },
    between: { seconds: options.betweenLatency * 1e-6, bytesPerSecond: options.between * 1e9 },
    flopsPerSecond: options.rate * 1e12,
  };
}

function rowOf(options: ContextParallelOptions, devices: number, tokens: number): Row {
  const settings = settingsOf(options, devices, tokens);
  return {
    devices,
    tokens,
    contiguous: contiguousImbalance(settings),
    mechanisms: simulateContextParallel(settings),
  };
}

function textOf(rows: readonly Row[], options: ContextParallelOptions): string {
  return [...rows.map(rowText), mapText(options)].join('\n\n');
}

function rowText({ devices, tokens, contiguous, mechanisms }: Row): string {
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
function mapText(options: ContextParallelOptions): string {
  const counts = Array.from({ length: 12 }, (_, at) => 2 ** (at + 1));
  const name = (tokens: number) => (tokens < 2 ** 20 ? `${tokens / 1024}K` : `${Math.round(tokens / 2 ** 20)}M`);
  const table = formatTable(
    ['devices', ...LENGTHS.map((tokens) => right(name(tokens)))],
    counts.map((devices) => [
      String(devices),
      ...LENGTHS.map((tokens) => {
        if (tokens < devices) return '';
        const [best] = simulateContextParallel(
          settingsOf({ ...options, documents: undefined } as never, devices, tokens),
        );
        return best && !best.refused ? LETTERS[best.mechanism] : '-';
      }),
    ]),
  );
  const legend = MECHANISMS.map((mechanism) => `${LETTERS[mechanism]} ${mechanism}`).join(', ');
  return `${styleText('bold', 'The cheapest')}, one document: ${legend}\n\n${table}`;
}
