/**
 * What a step of a decoder takes of memory at any length: runs of one layer and of two, at two lengths, tell what a layer and a token
 * add, since memory grows evenly with both. Calls are computed one by one: a program whose calls run ahead holds up to 64 MiB more.
 */
import { ParameterError } from '../../errors';
import type { CacheDType } from '../../ops/cache/layout';
import type { Runtime } from '../../runtime/runtime';
import { differentiate } from '../../tape';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { createDecoder, type Decoder, type DecoderConfig, type LayerAttention } from '.';

/** Bits of a number of a matrix, scales included. */
const WEIGHT_BITS = { f32: 32, f16: 16, bf16: 16, q8: 8.5, q4: 4.5 } as const;
export type WeightKind = keyof typeof WEIGHT_BITS;
export const WEIGHT_KINDS = Object.keys(WEIGHT_BITS) as WeightKind[];

export interface StepMemorySettings {
  /** A training step with AdamW, or a step of decoding behind a prompt. */
  readonly phase: 'train' | 'decode';
  readonly attention: LayerAttention;
  /** Sequences side by side. */
  readonly rows: number;
  /** How matrices, and keys and values, are stored for decoding. */
  readonly weights: WeightKind;
  readonly cache: CacheDType;
  /** Whether the tape keeps only the input of each layer in training. */
  readonly recompute: boolean;
}

/** Bytes by what takes them. */
export interface StepMemory {
  /** Parameters or weights, and in training the two moments of each. */
  readonly parameters: number;
  readonly moments: number;
  /** What past tokens leave behind; 0 in training. */
  readonly cache: number;
  /** The rest at its peak: gradients and what the tape keeps, or what a step needs meanwhile. */
  readonly working: number;
}

export const totalOf = ({ parameters, moments, cache, working }: StepMemory): number =>
  parameters + moments + cache + working;

/** Tokens of the small runs: several parts of a prompt. */
const PROBED = [512, 1024] as const;
/** Rows of logits that a loss computes at a time, and tokens of a part of a prompt: those of small runs as of long ones. */
const CHUNK = 64;
const PROMPT = 256;

/** The memory of a step at any number of tokens of each row. */
export async function predictStepMemory(
  runtime: Runtime,
  config: DecoderConfig,
  settings: StepMemorySettings,
): Promise<(n: number) => StepMemory> {
  const layers = createDecoder(config, { attention: settings.attention }).layers;
  // Kernels are loaded by the first calls, which later ones wait for.
  await measureStepMemory(runtime, ofLayers(config, 1), settings, 2);
  const grids: StepMemory[][] = [];
  for (const count of [1, 2]) {
    const own: StepMemory[] = [];
    for (const n of PROBED) own.push(await measureStepMemory(runtime, ofLayers(config, count), settings, n));
    grids.push(own);
  }
  const [first, past] = PROBED;
  const at = (part: 'cache' | 'working', n: number) => {
    const byLayers = grids.map(([near, far]) => {
      const [a, b] = [near as StepMemory, far as StepMemory].map((memory) => memory[part]) as [number, number];
      return a + ((b - a) * (n - first)) / (past - first);
    });
    const [alone, both] = byLayers as [number, number];
    return Math.max(0, alone + (both - alone) * (layers - 1));
  };
  const parameters = parameterBytes(config, settings);
  return (n) => ({ ...parameters, cache: at('cache', n), working: at('working', n) });
}

/** The same as a step takes it here: parameters and moments counted, the rest measured. */
export async function measureStepMemory(
  runtime: Runtime,
  config: DecoderConfig,
  settings: StepMemorySettings,
  n: number,
): Promise<StepMemory> {
  const decoder = createDecoder(config, { attention: settings.attention });
  if (n > decoder.context) throw new ParameterError(`tokens must be at most ${decoder.context}, the context, got ${n}`);
  const parameters = decoder.initialize(runtime);
  try {
    const measured =
      settings.phase === 'train'
        ? await measureTraining(runtime, decoder, parameters, settings, n)
        : await measureDecoding(runtime, decoder, parameters, settings, n);
    return { ...parameterBytes(config, settings), ...measured };
  } finally {
    for (const parameter of Object.values(parameters)) parameter.dispose();
  }
}

type Measured = Pick<StepMemory, 'cache' | 'working'>;

async function measureTraining(
  runtime: Runtime,
  decoder: Decoder,
  parameters: Readonly<Record<string, Tensor>>,
  { rows, recompute }: StepMemorySettings,
  n: number,
): Promise<Measured> {
  using tokens = runtime.tensor(new Int32Array(rows * n), [rows, n], 'i32');
  const { live } = runtime.memory();
  runtime.backend.resetPeak();
  const { loss, gradients } = runtime.calls.oneByOne(() =>
    differentiate((own) => decoder.loss(own, tokens, tokens, { recompute, chunk: CHUNK }), parameters),
  );
  await runtime.finish();
  const { peak } = runtime.memory();
  for (const each of [loss, ...Object.values(gradients)]) each.dispose();
  return { cache: 0, working: peak - live };
}

async function measureDecoding(
  runtime: Runtime,
  decoder: Decoder,
  parameters: Readonly<Record<string, Tensor>>,
  { rows, cache: dtype }: StepMemorySettings,
  n: number,
): Promise<Measured> {
  using cache = decoder.cache(runtime, { rows, capacity: n, dtype });
  let working = 0;
  for (let at = 0; at < n; at += PROMPT) {
    const count = Math.min(PROMPT, n - at);
    using tokens = runtime.tensor(new Int32Array(rows * count), [rows, count], 'i32');
    const { live } = runtime.memory();
    const { bytes } = cache;
    runtime.backend.resetPeak();
    using logits = runtime.calls.oneByOne(() => decoder.step(parameters, tokens, cache));
    await logits.read();
    working = Math.max(working, runtime.memory().peak - live - (cache.bytes - bytes));
  }
  return { cache: cache.bytes, working };
}

function parameterBytes(
  config: DecoderConfig,
  { phase, weights, attention }: StepMemorySettings,
): Pick<StepMemory, 'parameters' | 'moments'> {
  const bits = phase === 'train' ? WEIGHT_BITS.f32 : WEIGHT_BITS[weights];
  let [parameters, numbers] = [0, 0];
  for (const { shape } of Object.values(createDecoder(config, { attention }).parameters)) {
    numbers += sizeOf(shape);
    parameters += (sizeOf(shape) * (shape.length === 2 ? bits : WEIGHT_BITS.f32)) / 8;
  }
  return { parameters, moments: phase === 'train' ? 8 * numbers : 0 };
}

/** The configuration with its first layers only. */
function ofLayers(config: DecoderConfig, count: number): DecoderConfig {
  const { layer_types: types, model_type: name } = config;
  const own = Array.isArray(types) ? { layer_types: types.slice(0, count) } : {};
  return { ...config, [name === 'gpt2' ? 'n_layer' : 'num_hidden_layers']: count, ...own };
}
