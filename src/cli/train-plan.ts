/** What `saccade train` is asked to do: a model, its data and its optimiser. */
import { createHash } from 'node:crypto';
import { isRecord, show } from '../check';
import { mobyDick } from '../compare/inputs';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import type { Method } from '../methods/define';
import { findMethod, methods as library } from '../methods/registry';
import { createDecoder, type Decoder, type DecoderConfig, type LayerAttention } from '../models';
import { distillation } from '../models/decoder/distillation';
import { gatedTokens, insertTargets, jumpedPositions, type Landmarks, NO_TARGET } from '../models/decoder/landmarks';
import { sampleTokens } from '../models/decoder/sample';
import type { ModuleControl, TrainableParameters } from '../nn';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';
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
import { attentionOf, attentionOfModel } from './attention';
import { readMethod } from './methods';
import { MOST_SETTINGS, openFile, readBytes, readTensorsOf, readText } from './read-tensors';
import { baseOf, configOfTrained, configWithLandmarks, parametersFrom } from './train-base';
import { OF_FILES, settledOptions, TEXT_OPTIONS, type TextOptions, type TrainOptions } from './train-options';

const FILES_TOGETHER = '--config, --weights, --tokens and --optimizer';
/** Names of the parameters of layers, which have a number in every architecture. */
const OF_LAYERS = /\.\d+\./;
/** The share of the steps in which the learning rate grows. */
export const WARMUP = 0.05;
/** The share of the steps, at the end, in which windows are as long as the context. */
const LONG = 0.1;
export const MOST_VALIDATION_BATCHES = 8;
const SAMPLE = { count: 80, temperature: 0.8, prompt: 8 };

type Batch = Readonly<Record<string, Tensor>>;

/** What is trained, on what, and what is said of it. */
export interface Plan {
  readonly title: string;
  /** JSON files that belong to the weights, by name. */
  readonly files: Readonly<Record<string, object>>;
  readonly parameters: Record<string, Tensor>;
  /** What is kept with the parameters and not trained; default: nothing. */
  readonly buffers?: Record<string, Tensor>;
  readonly loss: (parameters: TrainableParameters, batch: Batch, control: ModuleControl) => Tensor;
  /** Whose loss that is, if ranks can share it. */
  readonly decoder?: Decoder | undefined;
  readonly optimizer: ReturnType<typeof parseOptimizer>;
  readonly schedule?: Schedule;
  readonly steps: number;
  readonly every: number;
  readonly batches: (index: number) => Batch;
  readonly validate?: ValidateOptions<Batch>;
  readonly settings: TrainingSettings;
  /** Operations of a batch, where they are known: the model's products and attention, forward and backward. */
  readonly flops?: number;
  /** What a batch has how many of. */
  readonly unit: 'tokens' | 'pictures';
  readonly unitsOfBatch: number;
  /** What the model says after so many steps. */
  readonly sample?: (steps: number, signal: AbortSignal) => Promise<string>;
  /** How good the trained model is on what it has not seen: in words, and as entries of the log. */
  readonly evaluate?: (signal: AbortSignal) => Promise<{ readonly text: string; readonly log: object }>;
}

/** The loss of a decoder on a batch; landmarks have no targets. */
const lossOf =
  (decoder: Decoder): Plan['loss'] =>
  (parameters, { tokens, targets, positions, gated }, { training }) =>
    decoder.loss(parameters, tokens as Tensor, targets as Tensor, {
      training,
      ...(decoder.landmarks && { ignore: NO_TARGET }),
      positions: positions as Tensor<'i32'> | undefined,
      inputs: gated && { gated },
    });

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
  const decoder = createDecoder(config, { attention: await attentionOfModel(config) });
  const { tokens } = await readTensorsOf({ name: 'train', inputs: { tokens: '' } }, source);
  const { dtype, shape, data } = tokens as HostTensor<'i32'>;
  if (dtype !== 'i32') throw new DTypeError(`tokens must be i32, got ${dtype}`);
  const [steps = 0, b = 0, width = 0] = shape;
  if (shape.length !== 3 || steps < 1 || b < 1 || width < 2)
    throw new ShapeError(`tokens must have shape [steps, b, n + 1], got ${formatShape(shape)}`);
  await using file = await openFile(weights as string);
  return {
    title: `Training on ${printable(source)}`,
    files: { 'config.json': config },
    steps,
    every,
    parameters: await decoder.load(runtime, file),
    optimizer: parseOptimizer(optimizer),
    batches: (step) =>
      batchOf(runtime, { dtype, shape: [b, width], data: data.subarray(step * b * width, (step + 1) * b * width) }),
    settings: { config: hashOf(JSON.stringify(config)), tokens: hashOf(data), numbers: optimizer },
    loss: lossOf(decoder),
    decoder,
    flops: 3 * decoder.flops(b, width - 1),
    unit: 'tokens',
    unitsOfBatch: b * (width - 1),
  };
}

export async function planOfText(runtime: Runtime, given: TrainOptions, remembered: TrainingSettings): Promise<Plan> {
  if ('tokens' in remembered)
    throw new ParameterError(`the checkpoint is of a training on files: give ${FILES_TOGETHER} again`);
  const options = settledOptions(TEXT_OPTIONS, given, remembered);
  const { vocabulary, steps, length, batch, every, seed } = options;
  const optimizer = parseOptimizer(options.optimizer);
  const methods = await methodsOf(given, options);
  const names = methods.map(({ name }) => name).join();
  const { params, layers } = options;
  const base = await baseOf(runtime, options);
  const own = params === TEXT_OPTIONS.params.preset ? undefined : params;
  const attention = attentionOf(methods, own, base?.decoder.layers ?? layers, {
    option: '--method',
    layersName: `--layers, ${layers}`,
  });
  const { name: title, text } = options.text === undefined ? await mobyDick() : await readText(options.text);
  if (text === '') throw new ParameterError(`${title} holds no text`);
  const tokenizer = base?.tokenizer ?? tokenizerOf(text, vocabulary);
  const tokens = tokenizer.encode(text);
  const data = windows(tokens, { length, batch, seed });
  const { context = length } = options;
  if (context < length) throw new ParameterError(`--context must be at least --length, ${length}, got ${context}`);
  const long = windows(tokens, { length: context, batch: Math.max(1, Math.round((batch * length) / context)), seed });
  const short = context > length ? steps - Math.ceil(LONG * steps) : steps;
  const hasLandmarks = methods.some(({ landmarkEvery }) => landmarkEvery);
  const plain = base?.config ?? configOf(options, tokenizer.size);
  const room = hasLandmarks ? configWithLandmarks(plain, tokenizer.size) : plain;
  const decoder = createDecoder(room, { attention });
  const { landmarks } = decoder;
  const isTeacher = options.distill !== undefined;
  const config = configOfTrained(room, landmarks, ([attention].flat() as LayerAttention[]).slice(0, methods.length));
  if (isTeacher && landmarks)
    throw new ParameterError(
      '--distill is for methods without landmarks, which no teacher has: train them with --from',
    );
  if (options.jump > 1 && !landmarks)
    throw new ParameterError('--jump is for methods with landmarks: landmark-attention');
  const toBatch = (host: HostTensor<'i32'>) => batchOf(runtime, host, landmarks);
  const isGated = Object.keys(decoder.parameters).some((name) => name.endsWith('.context_miss.key'));
  /** What is drawn for a batch with landmarks: jumps of positions, and which blocks stand behind the context-miss token. */
  const withDrawn = (batch: Batch, index: number): Batch => {
    if (!landmarks) return batch;
    const n = (batch.tokens as Tensor).shape[1] as number;
    const draw = uniformGenerator(seed + index);
    const row = (values: number[]) => runtime.tensor(values, [n], 'i32');
    return {
      ...batch,
      ...(options.jump > 1 && { positions: row(jumpedPositions(n, landmarks, options.jump, draw)) }),
      ...(isGated && { gated: row(gatedTokens(n, landmarks, draw)) }),
    };
  };
  const parameters = base
    ? parametersFrom(base, decoder, runtime, { seed, isTeacher })
    : decoder.initialize(runtime, { seed });
  const prompt = tokens.slice(-length - 1).slice(0, SAMPLE.prompt);
  return {
    title: `${title}, learned with ${names}`,
    files: { 'tokenizer.json': tokenizer.file, 'config.json': config },
    ...(base && isTeacher ? { loss: distillation(base, decoder) } : { loss: lossOf(decoder), decoder }),
    steps,
    every,
    optimizer,
    parameters,
    schedule: warmupCosine({ steps, warmup: Math.ceil(WARMUP * steps), floor: 0.1 }),
    batches: (index) => withDrawn(toBatch(index < short ? data.batches(index) : long.batches(index - short)), index),
    validate: {
      every,
      count: Math.min(data.validation.count, MOST_VALIDATION_BATCHES),
      batches: (index) => toBatch(data.validation.batches(index)),
    },
    settings: { ...(options as TrainingSettings), method: names, hash: hashOf(text) },
    flops: 3 * decoder.flops(batch, length),
    unit: 'tokens',
    unitsOfBatch: batch * length,
    async sample(step, signal) {
      const { count, temperature } = SAMPLE;
      const own = { count, length, temperature, seed: seed + step, signal };
      const added = await sampleTokens(decoder, runtime, parameters, prompt, own);
      return tokenizer.decode([...prompt, ...added]);
    },
  };
}

/** A vocabulary that is learned from a text. */
const tokenizerOf = (text: string, vocabulary: string): Tokenizer =>
  vocabulary === 'characters' ? characterTokenizer(text) : bytePairTokenizer(text, Number(vocabulary));

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

/** The first n tokens of each row of [b, n + 1], and the last n; with landmarks among them, whose targets do not count. */
function batchOf(runtime: Runtime, { shape, data }: HostTensor<'i32'>, landmarks?: Landmarks): Batch {
  const [b, width] = shape as [number, number];
  const rows = Array.from({ length: b }, (_, row) => {
    const own = [...data.subarray(row * width, (row + 1) * width)];
    return insertTargets(own.slice(0, -1), own.slice(1), landmarks);
  });
  const tensor = (name: 'tokens' | 'targets') =>
    runtime.tensor(
      rows.flatMap((row) => [...row[name]]),
      [b, (rows[0] as (typeof rows)[number]).tokens.length],
      'i32',
    );
  return { tokens: tensor('tokens'), targets: tensor('targets') };
}

const OPTIMIZERS: Readonly<Record<string, (parameters: Record<string, Tensor>, options: object) => Optimizer>> = {
  adamw,
  sgd,
  muon: (parameters, options) => muon(parameters, { ...options, only: (name) => OF_LAYERS.test(name) }),
};

/** What `--optimizer` says. */
export function parseOptimizer(text: string): {
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

export const hashOf = (data: string | Uint8Array | Int32Array) => createHash('sha256').update(data).digest('hex');
