/** What `saccade train` is asked to do: a model, its data and its optimiser. */
import { createHash } from 'node:crypto';
import { InvalidArgumentError } from 'commander';
import { isRecord, show } from '../check';
import { mobyDick } from '../compare/inputs';
import { DTypeError, ParameterError, ParseError, ShapeError } from '../errors';
import type { Method } from '../methods/define';
import { findMethod, methods as library } from '../methods/registry';
import { createDecoder, type Decoder, type DecoderConfig } from '../models';
import { MOST_HEADS, MOST_LAYERS } from '../models/decoder/architectures/settings';
import type { RuntimeOptions } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { printable } from '../text/printable';
import {
  adamw,
  bytePairTokenizer,
  characterTokenizer,
  muon,
  type Optimizer,
  type Schedule,
  sgd,
  type Tokenizer,
  type TrainingSettings,
  type ValidateOptions,
  warmupCosine,
  windows,
} from '../train';
import { attentionOf } from './attention';
import { METHOD_OR_MODULE, readMethod } from './methods';
import { paramsOption, wholeNumber } from './options';
import { MOST_SETTINGS, openFile, readBytes, readTensorsOf, readText } from './read-tensors';

export interface TrainOptions extends Pick<RuntimeOptions, 'backend' | 'threads'>, Partial<TextOptions> {
  readonly config?: string;
  readonly weights?: string;
  readonly tokens?: string;
  readonly out: string;
  readonly resume?: true;
}

/** An option: flags, help, default value, and the parser of its value. */
const option = <T>(flags: string, help: string, preset: T, take: (text: string) => T) => ({
  flags,
  help,
  preset,
  take,
});

/** Options that determine a training on a text; its checkpoints remember them. */
export const TEXT_OPTIONS = {
  method: option(
    '--method <names>',
    `the attention, or several by commas, which layers take in turn, each ${METHOD_OR_MODULE}; default: attention`,
    'attention',
    String,
  ),
  params: option(paramsOption().flags, paramsOption().description, '{}', String),
  text: option<string | undefined>('--text <file>', 'text to learn, in UTF-8; default: Moby Dick', undefined, String),
  vocabulary: option(
    '--vocabulary <size>',
    "'characters', or how many byte-pair tokens; default: characters",
    'characters',
    parseVocabulary,
  ),
  steps: option('--steps <count>', 'batches to learn from; default: 1000', 1000, wholeNumber(1, 1e9)),
  length: option('--length <tokens>', 'tokens that it sees at once; default: 128', 128, wholeNumber(1, 2 ** 20)),
  context: option<number | undefined>(
    '--context <tokens>',
    'that it sees at once in the last tenth of the steps, of fewer texts at a time; default: as --length',
    undefined,
    wholeNumber(1, 2 ** 20),
  ),
  batch: option('--batch <rows>', 'texts of that length in a batch; default: 16', 16, wholeNumber(1, 2 ** 20)),
  layers: option('--layers <count>', 'default: 4', 4, wholeNumber(1, MOST_LAYERS)),
  width: option('--width <numbers>', 'of each token in a layer; default: 128', 128, wholeNumber(1, 2 ** 16)),
  heads: option('--heads <count>', 'of each layer; default: 4', 4, wholeNumber(1, MOST_HEADS)),
  seed: option('--seed <number>', 'of weights, order and samples; default: 0', 0, wholeNumber(0, 2 ** 31)),
  optimizer: option(
    '--optimizer <json>',
    'adamw, sgd or muon with its numbers, and clip',
    '{"name": "adamw", "learningRate": 0.003, "weightDecay": 0.1, "clip": 1}',
    String,
  ),
  every: option('--every <steps>', 'between checkpoints; default: 100', 100, wholeNumber(1, 1e9)),
};
type TextOptions = { readonly [Name in keyof typeof TEXT_OPTIONS]: (typeof TEXT_OPTIONS)[Name]['preset'] };

export const OF_FILES = ['config', 'weights', 'tokens'] as const;
const FILES_TOGETHER = '--config, --weights, --tokens and --optimizer';
/** Names of the parameters of layers, which have a number in every architecture. */
const OF_LAYERS = /\.\d+\./;
/** The share of the steps in which the learning rate grows. */
const WARMUP = 0.05;
/** The share of the steps, at the end, in which windows are as long as the context. */
const LONG = 0.1;
const MOST_VALIDATION_BATCHES = 8;
export const SAMPLE = { count: 80, temperature: 0.8, prompt: 8 };

interface Batch {
  readonly tokens: Tensor;
  readonly targets: Tensor;
}

export interface Plan {
  readonly title: string;
  readonly config: DecoderConfig;
  readonly decoder: Decoder;
  readonly parameters: Record<string, Tensor>;
  readonly optimizer: ReturnType<typeof parseOptimizer>;
  readonly schedule?: Schedule;
  readonly steps: number;
  readonly every: number;
  readonly batches: (index: number) => Batch;
  readonly validate?: ValidateOptions<Batch>;
  readonly settings: TrainingSettings;
  /** Operations of a batch: the model's products and attention, forward and backward. */
  readonly flops: number;
  readonly tokensOfBatch: number;
  readonly tokenizer?: Tokenizer;
  readonly sampling?: { readonly prompt: Int32Array; readonly length: number; readonly seed: number };
}

/** A training in which everything is given: the decoder, its initial weights, the tokens in order, and the optimiser. */
export async function planOfFiles(runtime: Runtime, options: TrainOptions): Promise<Plan> {
  for (const name of [...OF_FILES, 'optimizer'] as const)
    if (options[name] === undefined)
      throw new ParameterError(`--${name} must be given too: ${FILES_TOGETHER} go together`);
  const {
    config: path,
    weights,
    tokens: source,
    optimizer,
    every = TEXT_OPTIONS.every.preset,
  } = options as Required<TrainOptions>;
  const config = parseRecord(path, new TextDecoder().decode(await readBytes(path, MOST_SETTINGS))) as DecoderConfig;
  const decoder = createDecoder(config);
  const { tokens } = await readTensorsOf({ name: 'train', inputs: { tokens: '' } }, source);
  const { dtype, shape, data } = tokens as HostTensor<'i32'>;
  if (dtype !== 'i32') throw new DTypeError(`tokens must be i32, got ${dtype}`);
  const [steps = 0, b = 0, width = 0] = shape;
  if (shape.length !== 3 || steps < 1 || b < 1 || width < 2)
    throw new ShapeError(`tokens must have shape [steps, b, n + 1], got ${formatShape(shape)}`);
  await using file = await openFile(weights);
  return {
    title: `Training on ${printable(source)}`,
    config,
    decoder,
    steps,
    every,
    parameters: await decoder.load(runtime, file),
    optimizer: parseOptimizer(optimizer),
    batches: (step) =>
      batchOf(runtime, { dtype, shape: [b, width], data: data.subarray(step * b * width, (step + 1) * b * width) }),
    settings: { config: hashOf(JSON.stringify(config)), tokens: hashOf(data), numbers: optimizer },
    flops: 3 * decoder.flops(b, width - 1),
    tokensOfBatch: b * (width - 1),
  };
}

export async function planOfText(runtime: Runtime, given: TrainOptions, remembered: TrainingSettings): Promise<Plan> {
  checkRemembered(remembered);
  const from: Readonly<Record<string, unknown>> = { ...remembered, ...given };
  const values = Object.entries(TEXT_OPTIONS).map(([name, { preset }]) => [name, from[name] ?? preset] as const);
  const options = Object.fromEntries(values.filter(([, value]) => value !== undefined)) as TextOptions;
  const { vocabulary, steps, length, batch, every, seed } = options;
  const optimizer = parseOptimizer(options.optimizer);
  const methods = await methodsOf(given, options);
  const names = methods.map(({ name }) => name).join();
  const { params, layers } = options;
  const own = params === TEXT_OPTIONS.params.preset ? undefined : params;
  const attention = attentionOf(methods, own, layers, {
    option: '--method',
    layersName: `--layers, ${layers}`,
  });
  const { name: title, text } = options.text === undefined ? await mobyDick() : await readText(options.text);
  if (text === '') throw new ParameterError(`${title} holds no text`);
  const tokenizer =
    vocabulary === 'characters' ? characterTokenizer(text) : bytePairTokenizer(text, Number(vocabulary));
  const tokens = tokenizer.encode(text);
  const data = windows(tokens, { length, batch, seed });
  const { context = length } = options;
  if (context < length) throw new ParameterError(`--context must be at least --length, ${length}, got ${context}`);
  const long = windows(tokens, { length: context, batch: Math.max(1, Math.round((batch * length) / context)), seed });
  const short = context > length ? steps - Math.ceil(LONG * steps) : steps;
  const config = configOf(options, tokenizer.size);
  const decoder = createDecoder(config, { attention });
  const toBatch = (host: HostTensor<'i32'>) => batchOf(runtime, host);
  return {
    title: `${title}, learned with ${names}`,
    config,
    decoder,
    steps,
    every,
    tokenizer,
    optimizer,
    parameters: decoder.initialize(runtime, { seed }),
    schedule: warmupCosine({ steps, warmup: Math.ceil(WARMUP * steps), floor: 0.1 }),
    batches: (index) => toBatch(index < short ? data.batches(index) : long.batches(index - short)),
    validate: {
      every,
      count: Math.min(data.validation.count, MOST_VALIDATION_BATCHES),
      batches: (index) => toBatch(data.validation.batches(index)),
    },
    settings: { ...(options as TrainingSettings), method: names, hash: hashOf(text) },
    flops: 3 * decoder.flops(batch, length),
    tokensOfBatch: batch * length,
    sampling: { prompt: tokens.slice(-length - 1).slice(0, SAMPLE.prompt), length, seed },
  };
}

/** Throws unless the options of a checkpoint could have been given. */
function checkRemembered(settings: TrainingSettings): void {
  if ('tokens' in settings)
    throw new ParameterError(`the checkpoint is of a training on files: give ${FILES_TOGETHER} again`);
  for (const [name, { take }] of Object.entries(TEXT_OPTIONS)) {
    const value = settings[name];
    if (value === undefined) continue;
    try {
      if (take(String(value)) === value) continue;
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
    }
    throw new ParseError(`checkpoint: its ${name} cannot be ${show(value)}: the file was altered`);
  }
}

function parseVocabulary(text: string): string {
  const size = Number(text);
  if (text === 'characters' || (/^\d+$/.test(text) && size >= 256 && size <= 65_536)) return text;
  throw new InvalidArgumentError("It must be 'characters' or a whole number from 256 to 65536.");
}

/**
 * The methods that `--method` names. A checkpoint remembers only names and never runs a module: the caller's own must be
 * given again.
 */
async function methodsOf({ method: given }: TrainOptions, { method }: TextOptions): Promise<Method[]> {
  if (given !== undefined) return Promise.all(given.split(',').map(readMethod));
  const names = method.split(',');
  const unknown = names.find((name) => !library.some((each) => each.name === name));
  if (unknown === undefined) return names.map((name) => findMethod(name));
  throw new ParameterError(
    `the training is by ${show(unknown)}, which is no method of the library: give its module again, by --method`,
  );
}

/** A small Llama. */
function configOf({ length, context = length, layers, width, heads }: TextOptions, vocabulary: number): DecoderConfig {
  if (width % (2 * heads) !== 0)
    throw new ParameterError(`--width must be a multiple of twice the heads, ${2 * heads}, got ${width}`);
  return {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: vocabulary,
    hidden_size: width,
    // Two thirds of the usual four times the width, since the network has three matrices.
    intermediate_size: 16 * Math.ceil(width / 6),
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    hidden_act: 'silu',
    tie_word_embeddings: true,
    initializer_range: 0.02,
    attention_bias: false,
    mlp_bias: false,
  };
}

/** The first n tokens of each row of [b, n + 1], and the last n. */
function batchOf(runtime: Runtime, { shape, data }: HostTensor<'i32'>): Batch {
  const [b, width] = shape as [number, number];
  const part = (from: number, past: number) => {
    const all = new Int32Array(b * (width - 1));
    for (let row = 0; row < b; row++) all.set(data.subarray(row * width + from, row * width + past), row * (width - 1));
    return runtime.tensor(all, [b, width - 1], 'i32');
  };
  return { tokens: part(0, width - 1), targets: part(1, width) };
}

const OPTIMIZERS: Readonly<Record<string, (parameters: Record<string, Tensor>, options: object) => Optimizer>> = {
  adamw,
  sgd,
  muon: (parameters, options) => muon(parameters, { ...options, only: (name) => OF_LAYERS.test(name) }),
};

/** What `--optimizer` says. */
function parseOptimizer(text: string): {
  make: (parameters: Record<string, Tensor>) => Optimizer;
  clip: number | undefined;
} {
  const given = parseRecord('--optimizer', text);
  const { name, clip, ...options } = given as Record<string, unknown>;
  const make = Object.hasOwn(OPTIMIZERS, String(name)) ? OPTIMIZERS[String(name)] : undefined;
  if (!make)
    throw new ParameterError(
      `name of --optimizer must be one of ${Object.keys(OPTIMIZERS).join(', ')}, got ${show(name)}`,
    );
  return { make: (parameters) => make(parameters, options), clip: clip as number | undefined };
}

/** Undefined if it is not JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseRecord(what: string, text: string): Readonly<Record<string, unknown>> {
  const value = parseJson(text);
  if (!isRecord(value)) throw new ParameterError(`${what} must be a JSON object, got ${show(text)}`);
  return value;
}

const hashOf = (data: string | Int32Array) => createHash('sha256').update(data).digest('hex');
