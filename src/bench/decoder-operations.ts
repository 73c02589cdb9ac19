/** Prompts and steps of whole decoders with random weights, held to the logarithmic probabilities of the same weights in f32. */
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { largestOf } from '../measure/gate';
import { loadDecoder } from '../models';
import type { DecoderCache } from '../models/decoder';
import { Sampler } from '../models/language-model/sampling';
import { createRuntime } from '../ops/create-runtime';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { hostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import {
  DECODER_SHAPES,
  type DecoderShapeName,
  tensorsOf,
  type WeightType,
  WORDS,
  weightBytes,
  writeDecoder,
} from './decoder-file';
import { MASKS, type Operation, type Problem } from './problem';

/** Tokens whose probabilities every contender tells before it is timed: after a prompt, and after a step more. */
const CHECKED = 8;
/** The share of the largest deviation by which a result may differ: weights are the same, but rows and caches are rounded. */
const ROUNDING: Readonly<Record<WeightType, number>> = { f32: 0.005, f16: 0.02, q8: 0.1, q4: 0.1 };
/** How keys and values are stored, here and elsewhere. */
const CACHE = 'f16';
const CHUNK = 512;

export interface DecoderWork {
  readonly shape: DecoderShapeName;
  readonly type: WeightType;
  /** A prompt of n tokens, a step after n tokens, or the products of a step alone. */
  readonly kind: 'prompt' | 'step' | 'products';
  readonly n: number;
  /** Sequences side by side. Default 1. */
  readonly rows?: number;
}

/** Files of weights, while this process runs. */
export const decoderFolder = (): string => join(tmpdir(), `saccade-decoders-${process.pid}`);

/** The file of the weights, which is written first if it is not there, and where its tensors begin. */
export async function decoderFile({ shape, type }: DecoderWork): Promise<{ path: string; start: number }> {
  await mkdir(decoderFolder(), { recursive: true });
  const path = fileOf({ shape, type });
  return { path, start: await writeDecoder(path, DECODER_SHAPES[shape], type) };
}

const fileOf = ({ shape, type }: Pick<DecoderWork, 'shape' | 'type'>) => join(decoderFolder(), `${shape}-${type}.gguf`);

const tokensUpTo = (count: number) => Array.from({ length: count }, (_, at) => (at * 7919 + 13) % WORDS);

export function decoderProblem(work: DecoderWork): Problem {
  const { num_attention_heads: h, num_key_value_heads: g, head_dim: d } = DECODER_SHAPES[work.shape];
  return { n: Math.max(1, work.n), h, g, d, mask: MASKS.causal, operation: operationOf(work) };
}

function operationOf(work: DecoderWork): Operation {
  const { shape, type, kind, n, rows = 1 } = work;
  const config = DECODER_SHAPES[shape];
  // Several sequences count as often as each alone would read them.
  const bytes = () => rows * (weightBytes(config, type) + (kind === 'step' ? cacheBytes(work) : 0));
  return {
    name: `${kind} ${n} ${type} ${rows}`,
    flops: () => 0,
    tokens: () => rows * (kind === 'prompt' ? n : 1),
    size: () => (kind === 'products' ? 1 : 2 * config.vocab_size),
    bytes,
    async expected() {
      if (kind === 'products') return [];
      const numbers = await probabilitiesOf(shape);
      const largest = largestOf(numbers.map((value) => value + Math.log(config.vocab_size)));
      const of = 'largest deviation of a logarithmic probability';
      return [{ known: [{ at: 0, numbers }], largest, of, rounding: ROUNDING[type] * largest }];
    },
    given: () => ({
      tensors: {
        tokens: hostTensor(tokensUpTo(Math.max(n, CHECKED) + 1), [Math.max(n, CHECKED) + 1], 'i32'),
      },
      settings: { file: fileOf(work), config, tensors: tensorsOf(config, type), type, kind, n, rows, checked: CHECKED },
    }),
    open(runtime) {
      const opened = openDecoder(runtime, work);
      // Its failure is that of the first call.
      opened.catch(() => {});
      let result: Float32Array | undefined;
      return {
        async call() {
          const { check, call } = await opened;
          result ??= await check();
          await call();
        },
        result: async () => result as Float32Array,
        tensors: [
          {
            dispose: () =>
              void opened.then(
                ({ dispose }) => dispose(),
                () => {},
              ),
          },
        ],
      };
    },
  };
}

/** Bytes of the keys and values that a step reads. */
export function cacheBytes({ shape, n }: Pick<DecoderWork, 'shape' | 'n'>): number {
  const { num_hidden_layers: layers, num_key_value_heads: g, head_dim: d } = DECODER_SHAPES[shape];
  return 2 * 2 * n * layers * g * d;
}

async function openDecoder(runtime: Runtime, work: DecoderWork) {
  const { kind, n, rows = 1, shape } = work;
  const { path } = await decoderFile(work);
  const vocabulary = DECODER_SHAPES[shape].vocab_size;
  const tokens = tokensUpTo(Math.max(n, CHECKED) + 1);
  const model = await loadDecoder(path, { runtime });
  const { decoder, parameters } = model;
  const capacity = Math.max(n, CHECKED) + 1;
  const root = decoder.cache(runtime, { capacity, dtype: CACHE });
  const sampler = new Sampler({ temperature: 0.8, topK: 40 }, tokens);
  /** The logits behind these tokens, which each row has; a prompt in chunks, as `generate` reads it. */
  const logitsOf = async (cache: DecoderCache, from: number, to: number) => {
    let last: Float32Array | undefined;
    for (let at = from; at < to; at += CHUNK) {
      const part = tokens.slice(at, Math.min(to, at + CHUNK));
      const all = Array.from({ length: cache.rows }, () => part).flat();
      using logits = runtime.scope(() =>
        decoder.step(parameters, runtime.tensor(all, [cache.rows, part.length], 'i32'), cache),
      );
      last = await logits.read();
    }
    return last as Float32Array;
  };
  const check = async () => {
    const before = await logitsOf(root, 0, CHECKED);
    const after = await logitsOf(root, CHECKED, CHECKED + 1);
    root.truncate(0);
    return Float32Array.from([...logarithms(before), ...logarithms(after)]);
  };
  let cache: DecoderCache | undefined;
  const filled = async () => {
    if (cache) return cache;
    if (kind === 'step' && n > 0) await logitsOf(root, 0, n);
    cache = rows === 1 ? root : root.fork(new Array<number>(rows).fill(0));
    return cache;
  };
  const calls = {
    async prompt() {
      await logitsOf(await filled(), 0, n);
      root.truncate(0);
    },
    async step() {
      const own = await filled();
      const logits = await logitsOf(own, n, n + 1);
      for (let row = 0; row < rows; row++)
        sampler.choose(logits.subarray(row * vocabulary, (row + 1) * vocabulary), tokens);
      own.truncate(n);
    },
    products: () => products(runtime, parameters as Readonly<Record<string, Tensor>>),
  };
  return {
    check: async () => (kind === 'products' ? new Float32Array(1) : check()),
    call: calls[kind],
    dispose() {
      if (cache !== root) cache?.dispose();
      root.dispose();
      model.dispose();
    },
  };
}

/** Every matrix times one row, as a step has them, and nothing else. */
async function products(runtime: Runtime, parameters: Readonly<Record<string, Tensor>>): Promise<void> {
  const inputs = new Map<number, Tensor>();
  runtime.scope(() => {
    for (const weights of Object.values(parameters)) {
      const { shape } = weights;
      if (shape.length !== 2) continue;
      const width = shape[1] as number;
      if (!inputs.has(width)) inputs.set(width, runtime.full([1, width], 0.5));
      matmul(inputs.get(width) as Tensor, weights, { transposeB: true });
    }
  });
  await runtime.finish();
}

/** Logarithms of the probabilities. */
function logarithms(logits: Float32Array): Float32Array {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
  return logits.map((logit) => logit - most - Math.log(sum));
}

const known = new Map<DecoderShapeName, Promise<Float32Array>>();

/** As the weights in f32 give them; of a tiny decoder in float64. */
function probabilitiesOf(shape: DecoderShapeName): Promise<Float32Array> {
  const found = known.get(shape) ?? computed(shape);
  known.set(shape, found);
  return found;
}

async function computed(shape: DecoderShapeName): Promise<Float32Array> {
  const { path } = await decoderFile({ shape, type: 'f32', kind: 'prompt', n: CHECKED });
  const vocabulary = DECODER_SHAPES[shape].vocab_size;
  using runtime = await createRuntime({ backend: shape === 'tiny' ? 'reference' : 'wasm' });
  using model = await loadDecoder(path, { runtime });
  const tokens = tokensUpTo(CHECKED + 1);
  using logits = model.decoder.forward(model.parameters, runtime.tensor(tokens, [1, tokens.length], 'i32'));
  const all = await logits.read();
  const at = (place: number) => logarithms(all.slice(place * vocabulary, (place + 1) * vocabulary));
  return Float32Array.from([...at(CHECKED - 1), ...at(CHECKED)]);
}
