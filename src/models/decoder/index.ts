/**
 * Decoders, trained and run with any causal method as their attention: language models of the architectures in
 * `architectures/`. Parameters have Hugging Face's names. Letters: b batch, n tokens.
 */
import { checkBoolean, checkFunction, checkKnown, checkOptions, checkRecord, checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Method } from '../../methods/define';
import { exactAttention } from '../../methods/dense/attention';
import type { ParamsSchema } from '../../methods/params';
import type { AttentionContext, AttentionLayer } from '../../nn/attention';
import { type LinearCrossEntropyOptions, linearCrossEntropy } from '../../nn/linear-cross-entropy';
import {
  type Described,
  initial,
  type ModuleControl,
  type Parameters,
  packable,
  partFinder,
  prefixed,
} from '../../nn/module';
import { project } from '../../nn/projection';
import { softcapped } from '../../nn/softcap';
import { checkCounts } from '../../ops/cache/layer';
import { checkControl, checkTensors, commonRuntime } from '../../ops/check';
import { contiguous } from '../../ops/copy';
import { crossEntropy } from '../../ops/cross-entropy';
import { gather } from '../../ops/gather';
import { type Activations, activationsSetting, PackedWeight } from '../../ops/packed';
import type { Runtime } from '../../runtime/runtime';
import { recompute } from '../../tape';
import { isFloat } from '../../tensor/dtype';
import { formatShape, sameShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { type Load, loaderOf, type WeightNames } from '../load';
import { readConfig } from './architectures';
import type { Blueprint, LayerBlueprint } from './architectures/architecture';
import type { DecoderConfig } from './architectures/settings';
import { createDecoderCache, DecoderCache, type DecoderCacheOptions } from './cache';
import { checkedPlaces, type Inserted, insertedRows, type Landmarks, landmarksOf, withoutLandmarks } from './landmarks';
import { type DecoderAttention, type DecoderLayer, layersOf } from './layers';
import { checkUntrained, whyUntrained } from './trained-attention';

export type { DecoderConfig } from './architectures/settings';
export { DecoderCache, type DecoderCacheOptions } from './cache';
export { insertLandmarks, type Landmarks } from './landmarks';
export type { DecoderAttention, LayerAttention } from './layers';

export interface DecoderOptions<Schema extends ParamsSchema = ParamsSchema> {
  /** A causal method for all layers, or a list with one for each; default: exact attention, as the configuration says. */
  readonly attention?: DecoderAttention<Schema> | undefined;
  /**
   * What becomes of rows that are multiplied by weights in blocks: rounded to 8 bits in blocks of 32 (`q8`, default), which errs by
   * up to 1/254 of the largest magnitude of each block, or left as they are (`f32`). Other weights are multiplied as floats. With `f32`
   * `load` also changes no number of weights: blocks that cannot be packed as they are, Q4_K, Q5_1, Q5_K and Q6_K, become f32.
   */
  readonly activations?: Activations | undefined;
}

export interface DecoderControl extends Omit<ModuleControl, 'activations'> {
  /** Whether the tape keeps only the input of each layer and computes the rest again; default false. */
  readonly recompute?: boolean | undefined;
  /** Called with what each layer hands on, h [b, n, width], and its index. */
  readonly onLayer?: ((h: Tensor, layer: number) => void) | undefined;
}

export interface DecoderForwardOptions extends DecoderControl {
  /** The positions of the tokens, [n] or [b, n] i32; default: from 0 on. Jumps after landmarks train a model for longer texts. */
  readonly positions?: Tensor<'i32'> | undefined;
  /** Optional inputs of methods, such as `gated` of landmark-attention, the same for all layers whose methods have them. */
  readonly inputs?: Readonly<Record<string, Tensor>> | undefined;
  /**
   * Takes the place of a layer's attention, q [b, n, h, d], k [b, n, g, d], v [b, n, g, e] -> [b, n, h, e]; where it gives
   * undefined, the layer's own is computed, as by `own`.
   */
  readonly attend?:
    | ((
        inputs: Readonly<Record<string, Tensor>>,
        layer: number,
        own: () => Tensor,
        of: LayerOfAttention,
      ) => Tensor | undefined)
    | undefined;
}

export interface DecoderLossOptions extends DecoderForwardOptions, Pick<LinearCrossEntropyOptions, 'chunk' | 'ignore'> {
  /**
   * Tokens go on from those of a cache, which has them from then on, as in `step`: what methods choose from a cache counts then.
   * Landmarks come by themselves.
   */
  readonly cache?: DecoderCache | undefined;
}

/** The method of a layer's attention, and its params in this pass. */
export interface LayerOfAttention extends Pick<AttentionLayer, 'method' | 'params'> {}

export interface DecoderStepOptions extends Pick<ModuleControl, 'signal'> {
  /**
   * How many of the n tokens belong to each row: its first ones. What is behind them are any tokens of the vocabulary; the
   * logits of rows without tokens mean nothing. Default: all.
   */
  readonly counts?: readonly number[] | undefined;
}

/** A language model as a function of its parameters, which the caller holds: by Hugging Face's names, as checkpoints have them. */
export interface Decoder extends WeightNames {
  /** How many tokens there are, for how many positions (any number where there is no limit), and how many layers. */
  readonly vocabulary: number;
  readonly context: number;
  readonly layers: number;
  /**
   * Where its attention wants landmarks, and which token they are: `landmark_token_id` of the configuration, by default the last one.
   * `step` puts them in by itself; `forward`, `hidden` and `loss` take tokens with landmarks in place (`insertLandmarks`).
   */
  readonly landmarks?: Landmarks | undefined;
  /** Tokens up to which its attention is exact, though by a method that is not beyond them; undefined where there is none such. */
  readonly exactUpTo?: number | undefined;
  /** Parameters to train from. */
  initialize(runtime: Runtime, options?: { readonly seed?: number | undefined }): Record<string, Tensor<'f32'>>;
  /**
   * Parameters from weights that `openWeights` opened, or from the tensors of a file, which `readSafetensors` gives; of the
   * checkpoint of a training it takes the parameters. As f32, or with `types: 'stored'` matrices as the file has them, those of f16, bf16 and in
   * blocks, in no more memory. Names may lack the prefix of the architecture, such as
   * `model.`, or begin with `module.`; a head that is tied, and buffers that follow from the configuration, are passed over.
   */
  readonly load: Load;
  /**
   * The logits of the token behind each: tokens [b, n] i32 -> [b, n, vocabulary]. Gradients with respect to the parameters
   * follow by the tape.
   *
   * @throws {ParameterError | ShapeError} a parameter that is missing, unknown or of another shape
   */
  forward(parameters: Parameters, tokens: Tensor, options?: DecoderForwardOptions): Tensor<'f32'>;
  /**
   * Throws unless these are its parameters.
   *
   * @throws {ParameterError | DTypeError | ShapeError} one that is missing, unknown or of another type or shape, by its name
   */
  check(parameters: Parameters): void;
  /** What the logits are products of, after the last norm: tokens [b, n] i32 -> [b, n, width]. Errors as `forward`. */
  hidden(parameters: Parameters, tokens: Tensor, options?: DecoderControl): Tensor<'f32'>;
  /**
   * What the attention of a layer takes, rotated by positions: q [b, n, h, d], k [b, n, g, d], v [b, n, g, e].
   *
   * @throws {ParameterError} a layer that there is not; otherwise as `forward`
   */
  attentionInputs(
    parameters: Parameters,
    tokens: Tensor,
    layer: number,
    options?: DecoderControl,
  ): Readonly<Record<'q' | 'k' | 'v', Tensor>>;
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

const CONTROL = ['recompute', 'onLayer', 'signal', 'training'];
const FORWARD = ['attend', 'positions', 'inputs'] as const;

/**
 * A decoder as a Hugging Face `config.json` says: `model_type` llama, mistral, qwen2, qwen3,
 * gemma2, gemma3_text, phi3 or gpt2.
 *
 * @throws {ParameterError} a configuration that is not known, a method that a decoder cannot use; no attention for a model that was
 * trained with other than exact attention (`saccade_attention` of the configuration)
 */
export function createDecoder<Schema extends ParamsSchema = ParamsSchema>(
  config: DecoderConfig,
  options: DecoderOptions<Schema> = {},
): Decoder {
  const blueprint = readConfig(config);
  checkOptions('createDecoder', options, ['attention', 'activations']);
  if (options.attention === undefined) checkUntrained(config);
  const activations = activationsSetting.check('activations', options.activations, {}, {});
  const layers = layersOf(blueprint, options.attention as DecoderAttention | undefined);
  const attentions = layers.map(({ attention }) => attention);
  const context = Math.min(blueprint.context ?? Number.MAX_SAFE_INTEGER, mostTokensOf(attentions));
  const parameters = parametersOf(blueprint, layers);
  const names = { ...namesOf(blueprint, layers, parameters), isExact: activations === 'f32' };
  const checkParameters = parameterChecker(parameters);
  const params = attentions.map(({ method, params }) => [method, params]);
  const settings = { config, activations, attention: options.attention ?? null, params };
  const check = (given: Parameters, tokens: Readonly<Record<string, Tensor>>, options: DecoderControl) => {
    checkControl(options);
    checkBoolean('recompute', options.recompute);
    if (options.onLayer !== undefined) checkFunction('onLayer', options.onLayer);
    checkParameters(given);
    checkTokens(tokens);
    commonRuntime(given);
    commonRuntime({ [blueprint.head]: given[blueprint.head] as Tensor | PackedWeight, ...tokens });
  };

  const { hidden, normed, logits, entropy } = networkOf(blueprint, layers, activations);
  const vocabulary = parameters[blueprint.head]?.shape[0] as number;
  const landmarks = landmarksOf(attentions, config, vocabulary);
  const positions = landmarks ? withoutLandmarks(context, landmarks) : context;
  const placed = (tokens: Tensor) => (landmarks ? checkedPlaces(tokens, landmarks) : tokens);

  return {
    ...names,
    vocabulary,
    context: positions,
    landmarks,
    layers: layers.length,
    exactUpTo: exactUpToOf(attentions),
    initialize(runtime, options = {}) {
      checkOptions('initialize', options, ['seed']);
      return initial({ parameters }, runtime, options.seed);
    },
    load: loaderOf(names),
    flops(b, n) {
      checkWhole('b', b, 1);
      checkWhole('n', n, 1);
      return flopsOf(parameters, blueprint, attentions, b, n);
    },
    forward(given, tokens, options = {}) {
      checkOptions('forward', options, [...CONTROL, ...FORWARD]);
      check(given, { tokens }, options);
      const contextOf = attendingBy(attentions, options);
      return tokens.runtime.scope(() => logits(given, hidden(given, placed(tokens), options, contextOf), options));
    },
    check: checkParameters,
    hidden(given, tokens, options = {}) {
      checkOptions('hidden', options, CONTROL);
      check(given, { tokens }, options);
      return tokens.runtime.scope(
        () => normed(given, hidden(given, placed(tokens), options), options) as Tensor<'f32'>,
      );
    },
    attentionInputs(given, tokens, layer, options = {}) {
      checkOptions('attentionInputs', options, CONTROL);
      checkWhole('layer', layer, 0, layers.length - 1);
      check(given, { tokens }, options);
      const { signal, training } = options;
      return inputsOf(attentions[layer] as AttentionLayer, tokens.runtime, (attend) =>
        hidden(given, tokens, options, (at) => ({ signal, training, ...(at === layer && { attend }) }), layer + 1),
      );
    },
    loss(given, tokens, targets, options = {}) {
      checkOptions('loss', options, [...CONTROL, ...FORWARD, 'chunk', 'ignore', 'cache']);
      check(given, { tokens, targets }, options);
      const cache = cacheAmong(options);
      if (cache !== undefined)
        return stepped(given, tokens, cache, { signal: options.signal }, landmarks, ({ tokens, own }, contextOf) =>
          entropy(given, textOf(hidden(given, tokens, options, contextOf), own), targets, options),
        );
      const contextOf = attendingBy(attentions, options);
      return tokens.runtime.scope(() =>
        entropy(given, hidden(given, placed(tokens), options, contextOf), targets, options),
      );
    },
    cache(runtime, options) {
      const cache = createDecoderCache(runtime, attentions, options, landmarks, async (given) => {
        checkParameters(given);
        const { identityOf } = await import('./identity');
        return identityOf(given, settings);
      });
      if (cache.capacity <= positions) return cache;
      cache.dispose();
      throw new ParameterError(
        `capacity must be at most ${positions}, for which there are positions, got ${options.capacity}`,
      );
    },
    step(given, tokens, cache, options = {}) {
      checkOptions('step', options, ['counts', 'signal']);
      check(given, { tokens }, options);
      return stepped(given, tokens, cache, options, landmarks, ({ tokens, last }, contextOf) =>
        logits(given, rowsOf(hidden(given, tokens, options, contextOf), last), options),
      );
    },
  };
}

/** What `run` makes of tokens, with landmarks among them, that a cache has from then on. */
function stepped(
  parameters: Parameters,
  tokens: Tensor,
  cache: DecoderCache,
  options: DecoderStepOptions,
  landmarks: Landmarks | undefined,
  run: (taken: Inserted, contextOf: (layer: number) => AttentionContext) => Tensor<'f32'>,
): Tensor<'f32'> {
  if (!(cache instanceof DecoderCache)) throw new ParameterError(`cache must be made by cache(), got ${show(cache)}`);
  const { runtime, shape } = tokens;
  if (cache.runtime !== runtime) throw new ParameterError('tokens live on another runtime than the cache');
  const [rows, n] = shape as [number, number];
  if (rows !== cache.rows)
    throw new ShapeError(`tokens must have ${cache.rows} rows as the cache, got ${formatShape(shape)}`);
  const { signal } = options;
  const counts = checkCounts(options.counts, rows, n);
  return runtime.scope(() => {
    const plain: Inserted = { tokens, counts, last: counts.map((count) => Math.max(0, count - 1)) };
    const taken = landmarks ? insertedRows(tokens, cache.lengths, counts, landmarks) : plain;
    const width = taken.tokens.shape[1] as number;
    return cache.advance(parameters, width, { counts: taken.counts, signal }, (contextOf) => run(taken, contextOf));
  });
}

function namesOf(blueprint: Blueprint, layers: readonly DecoderLayer[], parameters: Described): WeightNames {
  const attentions = layers.map(({ attention }) => attention);
  const plain = () => parametersOf(blueprint, layersOf(blueprint, exactAttention as Method));
  return {
    parameters,
    prefix: blueprint.prefix,
    // A head that is tied is that of the embedding.
    ignored: new RegExp(`${blueprint.ignored.source}|(^|\\.)lm_head\\.weight$`),
    whyMissing: (missing) => whyUntrained(missing, plain(), attentions),
  };
}

const mostTokensOf = (attentions: readonly AttentionLayer[]): number =>
  Math.min(...attentions.map(({ method, params }) => method.mostTokens?.(params as never) ?? Number.POSITIVE_INFINITY));

function exactUpToOf(attentions: readonly AttentionLayer[]): number | undefined {
  const all = attentions.flatMap(({ method, params }) => method.exactUpTo?.(params as never) ?? []);
  return all.length > 0 ? Math.min(...all) : undefined;
}

/** The cache that tokens go on from, if there is one. */
function cacheAmong(options: DecoderLossOptions): DecoderCache | undefined {
  const other = FORWARD.find((name) => options[name] !== undefined);
  if (options.cache !== undefined && other)
    throw new ParameterError(`${other} is for tokens without a cache, which says what they go on from`);
  return options.cache;
}

/** The rows of a text's tokens, [1, count, width], out of h [rows, n, width], by their places; all without landmarks. */
function textOf(h: Tensor, places: readonly number[] | undefined): Tensor {
  if (!places) return h;
  const [rows, n, width] = h.shape as [number, number, number];
  const indices = h.runtime.tensor([...places], [places.length], 'i32');
  return gather(contiguous(h).reshape([rows * n, width]) as Tensor<'f32'>, indices).reshape([1, places.length, width]);
}

/** What the attention of each layer gets, in whose place `attend` may say what it is. */
function attendingBy(
  attentions: readonly AttentionLayer[],
  { attend, positions, inputs: further, signal, training }: DecoderForwardOptions,
) {
  if (attend !== undefined) checkFunction('attend', attend);
  if (positions !== undefined) checkTensors({ positions });
  if (further !== undefined) checkTensors(further);
  const given = { signal, training, positions, further };
  return (layer: number): AttentionContext => {
    if (!attend) return given;
    const { method } = attentions[layer] as AttentionLayer;
    return {
      ...given,
      attend(inputs, { params }) {
        const own = () => method.forward(inputs, params, { signal }).out as Tensor;
        const out = attend(inputs, layer, own, { method, params }) ?? own();
        checkTensors({ 'what attend returns': out });
        return out;
      },
    };
  };
}

/** The parts of a forward pass, for parameters and tokens that were checked. */
function networkOf(
  blueprint: Blueprint,
  layers: readonly DecoderLayer[],
  activations: NonNullable<DecoderOptions['activations']> | undefined,
) {
  const { embedding, norm, softcap, width } = blueprint;
  const partsOf = layers.map(({ parameters }, at) =>
    partFinder(parameters, (blueprint.layers[at] as LayerBlueprint).name),
  );
  const normOf = partFinder(norm.module.parameters, norm.name);
  const normed = (given: Parameters, h: Tensor, { signal, training }: DecoderControl) =>
    norm.module.forward(h, normOf(given), { signal, training });
  const logits = (given: Parameters, h: Tensor, options: DecoderControl): Tensor<'f32'> => {
    const { signal } = options;
    const head = blueprint.head.replace(/\.weight$/, '');
    const plain = project(head, normed(given, h, options), given, { signal, activations });
    return softcap === undefined ? plain : softcapped(plain, softcap, { signal });
  };
  return {
    normed,
    /** What the last norm takes, [b, n, width], or what the first `count` layers hand on. */
    hidden(
      given: Parameters,
      tokens: Tensor,
      { recompute: again = false, onLayer, signal, training }: DecoderControl,
      contextOf: (layer: number) => AttentionContext = () => ({ signal, training }),
      count = layers.length,
    ): Tensor {
      return layers.slice(0, count).reduce<Tensor>(
        (h, layer, at) => {
          const own = (partsOf[at] as ReturnType<typeof partFinder>)(given);
          const call = (h: Tensor, own: Parameters) => layer.forward(h, own, { ...contextOf(at), activations });
          const next = again ? recompute(call, h, own) : call(h, own);
          onLayer?.(next, at);
          return next;
        },
        embedding.forward(tokens, given, contextOf(0)),
      );
    },
    logits,
    /** The mean cross entropy of targets, where h [b, n, width] is what the last norm takes. */
    entropy(given: Parameters, h: Tensor, targets: Tensor, options: DecoderLossOptions): Tensor<'f32'> {
      const { chunk, ignore, signal } = options;
      const classes = contiguous(targets).reshape([targets.size]);
      const head = given[blueprint.head] as Tensor | PackedWeight;
      if (head instanceof PackedWeight)
        return crossEntropy(logits(given, h, options).reshape([targets.size, -1]), classes, { ignore, signal });
      const rows = normed(given, h, options).reshape([targets.size, width]);
      return linearCrossEntropy(rows, head, classes, { chunk, ignore, softcap, signal });
    },
  };
}

/** What `run` hands to the attention of a layer, for which it takes the function. */
function inputsOf(
  { method }: AttentionLayer,
  runtime: Runtime,
  run: (attend: NonNullable<AttentionContext['attend']>) => unknown,
): Readonly<Record<'q' | 'k' | 'v', Tensor>> {
  const found: Tensor[] = [];
  const attend: NonNullable<AttentionContext['attend']> = (inputs, { params }) => {
    for (const name of ['q', 'k', 'v']) {
      const own = contiguous(inputs[name] as Tensor);
      // The layer's own scope would end with it.
      runtime.keepBeyondScopes(own);
      found.push(own);
    }
    return method.forward(inputs, params).out as Tensor;
  };
  try {
    runtime.scope(() => void run(attend));
  } catch (error) {
    for (const each of found) each.dispose();
    throw error;
  }
  const [q, k, v] = found as [Tensor, Tensor, Tensor];
  return { q, k, v };
}

/** By the names of checkpoints; matrices start with the configuration's standard deviation. */
function parametersOf(blueprint: Blueprint, layers: readonly DecoderLayer[]): Described {
  const { embedding, norm, head, std } = blueprint;
  const described: Described = {
    ...embedding.parameters,
    ...Object.assign(
      {},
      ...layers.map((layer, at) => prefixed(layer.parameters, (blueprint.layers[at] as LayerBlueprint).name)),
    ),
    ...prefixed(norm.module.parameters, norm.name),
    [head]: embedding.parameters[embedding.table],
  };
  return Object.fromEntries(
    Object.entries(described).map(([name, { shape, initial }]) => [
      name,
      { shape, initial: 'std' in initial && shape.length === 2 ? { std } : initial },
    ]),
  );
}

/** What throws unless it is given these parameters; tensors that it has seen are not looked at again. */
function parameterChecker(parameters: Described): (given: Parameters) => void {
  const forms = packable(parameters);
  const described = Object.entries(parameters);
  const names = Object.keys(parameters);
  const known = new Set(names);
  /** The names under which they fit. */
  const seen = new WeakMap<Tensor | PackedWeight, string>();
  return (given) => {
    checkRecord('parameters', given);
    if (Object.keys(given).some((name) => !known.has(name)))
      checkKnown('parameters', given, names, (unknown) => `decoder has no parameter '${unknown}'`);
    for (const [name, { shape }] of described) {
      const tensor = given[name];
      if (tensor === undefined) throw new ParameterError(`decoder needs a parameter '${name}'`);
      if (seen.get(tensor) === name) continue;
      checkTensors({ [name]: tensor }, forms);
      if (!(tensor instanceof PackedWeight) && !isFloat(tensor.dtype))
        throw new DTypeError(`${name} must hold floats, got ${tensor.dtype}`);
      if (!sameShape(tensor.shape, shape))
        throw new ShapeError(`${name} must have shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
      seen.set(tensor, name);
    }
  };
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
  parameters: Described,
  { embedding, head }: Blueprint,
  attentions: readonly AttentionLayer[],
  b: number,
  n: number,
): number {
  const looked = Object.keys(embedding.parameters).filter((name) => name !== head);
  const matrices = Object.entries(parameters).filter(
    ([name, { shape }]) => shape.length === 2 && !looked.includes(name),
  );
  const weights = matrices.reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);
  const attention = attentions.map(({ method, params, heads: h, keyHeads: g, d, e }) =>
    method.cost({ b, n, m: n, h, g, d, e }, params),
  );
  return attention.reduce((sum, { flops }) => sum + flops, 2 * weights * b * n);
}

/** One token of each row: h [rows, n, width], places [rows] -> [rows, width]. */
function rowsOf(h: Tensor, places: readonly number[]): Tensor {
  const [rows, n, width] = h.shape as [number, number, number];
  const [first] = places as [number];
  if (places.every((place) => place === first)) return contiguous(h.slice(1, first, first + 1)).reshape([rows, width]);
  const all = places.map((place, row) => row * n + place);
  return gather(h.reshape([rows * n, width]), h.runtime.tensor(all, [rows], 'i32'));
}
