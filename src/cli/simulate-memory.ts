import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { styleText } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { defaultModelFiles } from '../default-model/files';
import { ParameterError } from '../errors';
import { createDecoder, type DecoderConfig } from '../models/decoder';
import {
  measureStepMemory,
  predictStepMemory,
  type StepMemory,
  type StepMemorySettings,
  totalOf,
  WEIGHT_KINDS,
  type WeightKind,
} from '../models/decoder/step-memory';
import { STORAGE } from '../ops/cache/params';
import { createRuntime } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { formatBytes } from '../text/format';
import { formatTable, right } from '../text/table';
import { METHOD_OR_MODULE, readMethod } from './methods';
import { jsonOption, paramsOption, parseJson, wholeNumber } from './options';
import { withProgress } from './progress';
import { tell } from './write-file';

interface MemoryOptions extends Pick<StepMemorySettings, 'phase' | 'rows'> {
  readonly config?: string;
  readonly method: string;
  readonly params?: string;
  readonly lengths: readonly number[];
  readonly measured: readonly number[];
  readonly weights: WeightKind;
  readonly cache: StepMemorySettings['cache'];
  readonly recompute?: true;
  readonly memory: number;
  readonly json?: string;
}

interface Row {
  readonly n: number;
  readonly predicted: StepMemory;
  readonly measured?: StepMemory;
}

interface MemoryReport {
  readonly phase: MemoryOptions['phase'];
  readonly method: string;
  readonly rows: readonly Row[];
  /** Bytes that there are, and the most tokens that fit into them; undefined where any number does. */
  readonly memory: number;
  readonly longest: number | undefined;
}

/** Beyond it no one asks. */
const LARGEST = 2 ** 30;
/** What WebAssembly's memory holds. */
const HEAP = 2 ** 32;

export function simulateMemoryCommand(): Command {
  const lengths = (text: string) => text.split(',').map(wholeNumber(1, LARGEST));
  return new Command('memory')
    .description(
      'what a training step or a step of decoding takes by length, and from which length on it no longer fits',
    )
    .option('--config <file>', "a decoder's config.json; default: that of the library's own model")
    .addOption(new Option('--phase <name>', 'which step').choices(['train', 'decode']).default('decode'))
    .option('--method <name>', `attention of all layers: ${METHOD_OR_MODULE}`, 'attention')
    .addOption(paramsOption())
    .option('--lengths <tokens>', 'tokens of each row', lengths, [1024, 4096, 16_384, 65_536])
    .option('--measured <tokens>', 'lengths at which it is also measured here', lengths, [192, 384, 768, 1536])
    .option('--rows <count>', 'sequences side by side', wholeNumber(1, 4096), 1)
    .addOption(new Option('--weights <type>', 'matrices in decoding').choices(WEIGHT_KINDS).default('f32'))
    .addOption(new Option('--cache <type>', 'keys and values in decoding').choices([...STORAGE]).default('f32'))
    .option('--recompute', 'in training the tape keeps the input of each layer only')
    .option(
      '--memory <size>',
      "what there is, such as 16GiB; default: this machine's, or the 4 GiB that WebAssembly holds",
      bytesOf,
      Math.min(totalmem(), HEAP),
    )
    .addOption(jsonOption('the report'))
    .addHelpText(
      'after',
      '\nExample:\n  $ saccade simulate memory --phase train --method gated-delta-rule --memory 8GiB',
    )
    .action(async ({ json, ...options }: MemoryOptions) => {
      const report = await withProgress('simulate memory', ({ signal }) => reportOf(options, signal));
      await tell(() => textOf(report), json, report);
    });
}

async function reportOf(options: MemoryOptions, signal?: AbortSignal): Promise<MemoryReport> {
  const { phase, rows, weights, cache, recompute = false, memory, method: name } = options;
  const config = await configFrom(options.config);
  const method = await readMethod(name);
  const attention = { method, params: parseJson(options.params) };
  const settings: StepMemorySettings = { phase, attention, rows, weights, cache, recompute };
  const { context } = createDecoder(config, { attention });
  const beyond = options.measured.find((n) => n > context);
  if (beyond !== undefined)
    throw new ParameterError(`--measured must be at most ${context}, the context of the model, got ${beyond}`);
  using runtime: Runtime = await createRuntime({ backend: 'wasm' });
  const predict = await predictStepMemory(runtime, config, settings);
  const measured: Row[] = [];
  for (const n of options.measured) {
    signal?.throwIfAborted();
    const predicted = predict(n);
    // What does not fit here is told, not tried.
    const fits = totalOf(predicted) < HEAP;
    measured.push({ n, predicted, ...(fits && { measured: await measureStepMemory(runtime, config, settings, n) }) });
  }
  const asked = options.lengths.filter((n) => !options.measured.includes(n));
  const all = [...measured, ...asked.map((n) => ({ n, predicted: predict(n) }))].sort((a, b) => a.n - b.n);
  return { phase, method: method.name, rows: all, memory, longest: longestOf((n) => totalOf(predict(n)), memory) };
}

/** The most tokens whose memory, which grows, fits. */
function longestOf(bytes: (n: number) => number, memory: number): number | undefined {
  if (bytes(LARGEST) <= memory) return undefined;
  let [fits, above] = [0, LARGEST];
  while (above - fits > 1) {
    const middle = Math.floor((fits + above) / 2);
    if (bytes(middle) <= memory) fits = middle;
    else above = middle;
  }
  return fits;
}

async function configFrom(path: string | undefined): Promise<DecoderConfig> {
  const files = path === undefined ? await defaultModelFiles() : [];
  const text = path === undefined ? await files.find(({ name }) => name === 'config.json')?.text() : await read(path);
  try {
    return JSON.parse(text as string) as DecoderConfig;
  } catch (error) {
    throw new ParameterError(`--config must be a JSON file, got '${path}': ${(error as Error).message}`);
  }
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ParameterError(`--config cannot be read: ${(error as Error).message}`);
  }
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

function bytesOf(text: string): number {
  const [, number, unit] = text.match(/^([0-9.]+)\s*([KMGT]iB|B)$/) ?? [];
  const bytes = Number(number) * 1024 ** UNITS.indexOf(unit ?? '');
  if (number !== undefined && bytes >= 1 && Number.isFinite(bytes)) return bytes;
  throw new InvalidArgumentError('expected a size such as 512MiB or 16GiB');
}

function textOf({ phase, method, rows, memory, longest }: MemoryReport): string {
  const title = phase === 'train' ? 'a training step with AdamW' : 'a step of decoding, and the prompt before it';
  const parts = phase === 'train' ? (['parameters', 'moments'] as const) : (['parameters', 'cache'] as const);
  const headers = ['tokens', phase === 'train' ? 'parameters' : 'weights', parts[1], 'meanwhile', 'all', 'measured'];
  const table = formatTable(
    headers.map(right),
    rows.map(({ n, predicted, measured }) => [
      String(n),
      ...parts.map((part) => formatBytes(predicted[part])),
      formatBytes(predicted.working),
      `${formatBytes(totalOf(predicted))}${totalOf(predicted) > memory ? ' !' : ''}`,
      measured ? formatBytes(totalOf(measured)) : '',
    ]),
  );
  const verdict =
    longest === undefined
      ? `Any number of tokens fits into ${formatBytes(memory)}.`
      : longest === 0
        ? `It does not fit into ${formatBytes(memory)} at any length.`
        : `From ${longest + 1} tokens on it no longer fits into ${formatBytes(memory)}.`;
  const note = 'Calls that wait for their turn may hold 64 MiB more, and a cache up to an eighth, which it grows into.';
  return `${styleText('bold', title)}: ${method}\n\n${table}\n\n${verdict}\n${note}`;
}
