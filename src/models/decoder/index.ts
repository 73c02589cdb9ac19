/**
 * Decoders of the Llama family, trained and run with any causal method as their attention: RMSNorm, rotary positions, heads
 * that share keys and values, SwiGLU, and in Qwen 3 norms of queries and keys. Parameters have Hugging Face's names.
 * Letters: b batch, n tokens.
 * Source: Touvron et al. 2023, Llama, arXiv 2302.13971; Qwen 3, arXiv 2505.09388; the layouts of Hugging Face's checkpoints.
 */
import { checkBoolean, checkChoice, checkKnown, checkOptions, checkRecord, checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { ParamsSchema } from '../../methods/params';
import type { AttentionContext, AttentionLayer } from '../../nn/attention';
import { linear } from '../../nn/linear';
import { type LinearCrossEntropyOptions, linearCrossEntropy } from '../../nn/linear-cross-entropy';
import {
  type Described,
  initial,
  type Module,
  type ModuleControl,
  type Parameters,
  partOf,
  prefixed,
} from '../../nn/module';
import { norm } from '../../nn/norm';
import { checkControl, checkTensors, commonRuntime } from '../../ops/check';
import { contiguous } from '../../ops/copy';
import { embedding } from '../../ops/gather';
import { Runtime } from '../../runtime/runtime';
import { recompute } from '../../tape';
import { type DType, isFloat } from '../../tensor/dtype';
import { checkHost, convert, type HostTensor } from '../../tensor/host';
import { formatShape, sameShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { parametersIn } from '../../train/parameters-in';
import { createDecoderCache, DecoderCache, type DecoderCacheOptions } from './cache';
import { type DecoderConfig, type Extents, readConfig } from './config';
import { type DecoderAttention, type DecoderLayer, layersOf } from './layers';

export { DecoderCache, type DecoderCacheOptions } from './cache';
export type { DecoderConfig } from './config';
export type { DecoderAttention, LayerAttention } from './layers';

export interface DecoderOptions<Schema extends ParamsSchema = ParamsSchema> {
  /** A causal method for all layers, or a list with one for each; default: exact attention, as the configuration says. */
  readonly attention?: DecoderAttention<Schema> | undefined;
}

export interface DecoderControl extends ModuleControl {
  /** Whether the tape keeps only the input of each layer and computes the rest again; default false. */
  readonly recompute?: boolean | undefined;
}

export interface DecoderLossOptions extends DecoderControl, Pick<LinearCrossEntropyOptions, 'chunk' | 'ignore'> {}

export interface DecoderStepOptions extends ModuleControl {
  /**
   * How many of the n tokens belong to each row: its first ones. What is behind them are any tokens of the vocabulary; the
   * logits of rows without tokens mean nothing. Default: all.
   */
  readonly counts?: readonly number[] | undefined;
}

/** A language model as a function of its parameters, which the caller holds. */
export interface Decoder {
  /** What it has parameters of, by Hugging Face's names, matrices [out, in], and what training starts from. */
  readonly parameters: Described;
  /** Parameters to train from. */
  initialize(runtime: Runtime, options?: { readonly seed?: number | undefined }): Record<string, Tensor<'f32'>>;
  /**
   * Parameters from the tensors of a file: what `readSafetensors` gives for weights or for the checkpoint of a training,
   * of which it takes the parameters. As f32, or with `types: 'stored'` matrices as the file has them, if these are floats:
   * half the memory for f16 and bf16, and none the less f32 arithmetic. Names may lack `model.` or begin with `module.`; a head that is tied, and buffers of
   * rotary frequencies, are passed over.
   *
   * @throws {ParameterError | ShapeError} tensors that are missing, unexpected or of another shape, by their names
   */
  load(
    runtime: Runtime,
    file: Readonly<Record<string, HostTensor>>,
    options?: { readonly types?: 'f32' | 'stored' | undefined },
  ): Record<string, Tensor>;
  /**
   * The logits of the token behind each: tokens [b, n] i32 -> [b, n, vocabulary]. Gradients with respect to the parameters
   * follow by the tape.
   *
   * @throws {ParameterError | ShapeError} a parameter that is missing, unknown or of another shape
   */
  forward(parameters: Parameters, tokens: Tensor, options?: DecoderControl): Tensor<'f32'>;
  /** Multiplications and additions of products and attention, forward, for b sequences of n tokens; a backward pass has twice as many. */
  flops(b: number, n: number): number;
  /** The mean cross entropy of tokens [b, n] and their targets [b, n] i32, a few rows of logits at a time -> []. */
  loss(parameters: Parameters, tokens: Tensor, targets: Tensor, options?: DecoderLossOptions): Tensor<'f32'>;
  /**
   * What `step` goes on from, empty.
   *
   * @throws {ParameterError} a method that cannot go on from tokens that it has seen
   */
  cache(runtime: Runtime, options: DecoderCacheOptions): DecoderCache;
  /**
   * The logits of the token behind the last of each row: tokens [rows, n] i32, prompts or what comes next, which the cache has
   * from then on -> [rows, vocabulary]. As `forward` of all tokens so far would have them.
   *
   * @throws {ParameterError} tokens beyond the capacity of the cache, counts that do not fit
   */
  step(parameters: Parameters, tokens: Tensor, cache: DecoderCache, options?: DecoderStepOptions): Tensor<'f32'>;
}

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';
const CONTROL = ['recompute', 'signal'];

/**
 * A decoder as a Hugging Face `config.json` says: `model_type` llama, mistral, qwen2 or qwen3.
 *
 * @throws {ParameterError} a configuration that is not known, a method that a decoder cannot use
 */
export function createDecoder<Schema extends ParamsSchema = ParamsSchema>(
  config: DecoderConfig,
  options: DecoderOptions<Schema> = {},
): Decoder {
  const extents = readConfig(config);
  checkOptions('createDecoder', options, ['attention']);
  const layers = layersOf(extents, options.attention as DecoderAttention | undefined);
  const attentions = layers.map(({ attention }) => attention);
  const { width, epsilon, isTied } = extents;
  const last = norm({ width, epsilon });
  const parameters = parametersOf(extents, layers, last);
  const check = (given: Parameters, tokens: Readonly<Record<string, Tensor>>, options: DecoderControl) => {
    checkControl(options);
    checkBoolean('recompute', options.recompute);
    checkGiven(parameters, given);
    checkTokens(tokens);
    commonRuntime({ ...given, ...tokens });
  };

  /** What the last norm takes, [b, n, width]. */
  function hidden(
    given: Parameters,
    tokens: Tensor,
    { recompute: again = false, signal }: DecoderControl,
    contextOf: (layer: number) => AttentionContext = () => ({ signal }),
  ): Tensor {
    return layers.reduce<Tensor>(
      (h, layer, at) => {
        const own = partOf(given, nameOf(at));
        const call = (h: Tensor, own: Parameters) => layer.forward(h, own, contextOf(at));
        return again ? recompute(call, h, own) : call(h, own);
      },
      embedding(given[EMBEDDING] as Tensor, contiguous(tokens), { signal }),
    );
  }
  const normed = (given: Parameters, h: Tensor, { signal }: ModuleControl) =>
    last.forward(h, partOf(given, 'model.norm'), { signal });
  const head = (given: Parameters) => given[isTied ? EMBEDDING : HEAD] as Tensor;

  return {
    parameters,
    initialize(runtime, options = {}) {
      checkOptions('initialize', options, ['seed']);
      return initial({ parameters }, runtime, options.seed);
    },
    load: (runtime, file, options) => load(runtime, parameters, file, options),
    flops(b, n) {
      checkWhole('b', b, 1);
      checkWhole('n', n, 1);
      return flopsOf(extents, attentions, parameters, b, n);
    },
    forward(given, tokens, options = {}) {
      checkOptions('forward', options, CONTROL);
      check(given, { tokens }, options);
      const { signal } = options;
      return tokens.runtime.scope(() =>
        linear(normed(given, hidden(given, tokens, options), options), head(given), { signal }),
      );
    },
    loss(given, tokens, targets, options = {}) {
      checkOptions('loss', options, [...CONTROL, 'chunk', 'ignore']);
      check(given, { tokens, targets }, options);
      const { chunk, ignore, signal } = options;
      return tokens.runtime.scope(() => {
        const rows = normed(given, hidden(given, tokens, options), options).reshape([tokens.size, width]);
        return linearCrossEntropy(rows, head(given), contiguous(targets).reshape([tokens.size]), {
          chunk,
          ignore,
          signal,
        });
      });
    },
    cache: (runtime, options) => createDecoderCache(runtime, attentions, options),
    step(given, tokens, cache, options = {}) {
      checkOptions('step', options, ['counts', 'signal']);
      check(given, { tokens }, options);
      if (!(cache instanceof DecoderCache))
        throw new ParameterError(`cache must be made by cache(), got ${show(cache)}`);
      const { runtime, shape } = tokens;
      if (cache.runtime !== runtime) throw new ParameterError('tokens live on another runtime than the cache');
      const [rows, n] = shape as [number, number];
      if (rows !== cache.rows)
        throw new ShapeError(`tokens must have ${cache.rows} rows as the cache, got ${formatShape(shape)}`);
      return cache.advance(n, options, (contextOf, counts) => {
        const h = hidden(given, tokens, options, contextOf);
        return linear(normed(given, lastOf(h, counts), options), head(given), { signal: options.signal });
      });
    },
  };
}

/** Those of the layers, of the last norm, and the matrices of tokens; matrices start with the configuration's standard deviation. */
function parametersOf(
  { vocabulary, width, isTied, std }: Extents,
  layers: readonly DecoderLayer[],
  last: Pick<Module, 'parameters'>,
): Described {
  const table = { shape: [vocabulary, width], initial: { std } };
  const described: Described = {
    [EMBEDDING]: table,
    ...Object.assign({}, ...layers.map((layer, at) => prefixed(layer.parameters, nameOf(at)))),
    ...prefixed(last.parameters, 'model.norm'),
    ...(!isTied && { [HEAD]: table }),
  };
  return Object.fromEntries(
    Object.entries(described).map(([name, { shape, initial }]) => [
      name,
      { shape, initial: 'std' in initial && shape.length === 2 ? { std } : initial },
    ]),
  );
}

function checkGiven(parameters: Described, given: Parameters): void {
  checkKnown('parameters', given, Object.keys(parameters), (unknown) => `decoder has no parameter '${unknown}'`);
  for (const [name, { shape }] of Object.entries(parameters)) {
    const tensor = given[name];
    if (tensor === undefined) throw new ParameterError(`decoder needs a parameter '${name}'`);
    checkTensors({ [name]: tensor });
    if (!isFloat(tensor.dtype)) throw new DTypeError(`${name} must hold floats, got ${tensor.dtype}`);
    if (!sameShape(tensor.shape, shape))
      throw new ShapeError(`${name} must have shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
  }
}

/** Tokens, and targets if there are any, must be i32 [b, n] and of one shape. */
function checkTokens(tokens: Readonly<Record<string, Tensor>>): void {
  checkTensors(tokens);
  const [first] = Object.values(tokens) as [Tensor];
  for (const [name, { dtype, shape, rank, size }] of Object.entries(tokens)) {
    if (dtype !== 'i32') throw new DTypeError(`${name} must be i32, got ${dtype}`);
    if (rank !== 2 || size === 0)
      throw new ShapeError(`${name} must have shape [b, n] and not be empty, got ${formatShape(shape)}`);
    if (!sameShape(shape, first.shape))
      throw new ShapeError(
        `${name} must have the shape ${formatShape(first.shape)} of tokens, got ${formatShape(shape)}`,
      );
  }
}

function flopsOf(
  { heads, isTied }: Extents,
  attentions: readonly AttentionLayer[],
  parameters: Described,
  b: number,
  n: number,
): number {
  const matrices = Object.entries(parameters).filter(
    ([name, { shape }]) => shape.length === 2 && (isTied || name !== EMBEDDING),
  );
  const weights = matrices.reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);
  const attention = attentions.map(({ method, params, keyHeads: g, d, e }) =>
    method.cost({ b, n, m: n, h: heads, g, d, e }, params),
  );
  return attention.reduce((sum, { flops }) => sum + flops, 2 * weights * b * n);
}

/** The last of each row's first `counts[r]` tokens: h [rows, n, width] -> [rows, width]. */
function lastOf(h: Tensor, counts: readonly number[]): Tensor {
  const [rows, n, width] = h.shape as [number, number, number];
  if (counts.every((count) => count === n)) return contiguous(h.slice(1, n - 1, n)).reshape([rows, width]);
  const places = counts.map((count, row) => row * n + Math.max(0, count - 1));
  return embedding(h.reshape([rows * n, width]), h.runtime.tensor(places, [rows], 'i32'));
}

const nameOf = (layer: number) => `model.layers.${layer}`;

/** Buffers in checkpoints that follow from the configuration. */
const BUFFERS = /\.rotary_emb\.inv_freq$/;

function load(
  runtime: Runtime,
  parameters: Described,
  file: Readonly<Record<string, HostTensor>>,
  options: { readonly types?: 'f32' | 'stored' | undefined } = {},
): Record<string, Tensor> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkRecord('file', file);
  checkOptions('load', options, ['types']);
  const { types = 'f32' } = options;
  checkChoice('types', types, ['f32', 'stored']);
  const known = (name: string) => Object.hasOwn(parameters, name);
  const found = new Map<string, HostTensor>();
  for (const [name, host] of Object.entries(parametersIn(file))) {
    if (BUFFERS.test(name) || (name.endsWith(HEAD) && !known(HEAD))) continue;
    const bare = name.replace(/^module\./, '');
    const own = [name, bare, `model.${bare}`, bare.replace(/^model\./, '')].find(known);
    if (own === undefined) throw new ParameterError(`weights have a tensor '${name}' too many`);
    if (found.has(own)) throw new ParameterError(`weights have ${own} twice, also as '${name}'`);
    checkHost(own, host);
    found.set(own, host);
  }
  const missing = Object.keys(parameters).filter((name) => !found.has(name));
  if (missing.length > 0)
    throw new ParameterError(
      `weights have no tensor ${missing.slice(0, 3).join(', ')}${missing.length > 3 ? `, and ${missing.length - 3} more` : ''}`,
    );
  for (const [name, { shape }] of Object.entries(parameters)) {
    const host = found.get(name) as HostTensor;
    if (!sameShape(host.shape, shape))
      throw new ShapeError(`${name} must have shape ${formatShape(shape)}, got ${formatShape(host.shape)}`);
  }
  return runtime.scope(() =>
    Object.fromEntries(
      Object.entries(parameters).map(([name, { shape }]) => {
        const host = found.get(name) as HostTensor;
        const isKept = types === 'stored' && shape.length === 2 && host.dtype !== 'f64' && isFloat(host.dtype);
        return [name, runtime.fromHost(isKept ? (host as HostTensor<DType>) : convert(host, 'f32'))];
      }),
    ),
  );
}
