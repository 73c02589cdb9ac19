/**
 * DeiT, a vision transformer with a class token, and its pruning by AS-ViT: layers after which tokens that the class token
 * overlooks no longer count.
 * Sources: Touvron et al. 2021, arXiv 2012.12877 (names, epsilons); Liu, Wu and Guo 2022, arXiv 2209.13802, and their code.
 */
import * as valibot from 'valibot';
import { checkChoice, checkNumber, checkNumbers, checkOptions, show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import { type Scored, scoredAttention } from '../../methods/sparse/adaptive-token-pruning/scored';
import { type Described, type ModuleControl, type Parameters, prefixed } from '../../nn/module';
import { attention } from '../../ops/attention';
import { cast, concat, contiguous } from '../../ops/copy';
import { gather } from '../../ops/gather';
import { add, multiply, sigmoid, step, subtract } from '../../ops/map';
import { map } from '../../ops/map/map';
import { mean, sum } from '../../ops/reduce';
import { stopGradient } from '../../tape';
import { formatShape } from '../../tensor/shape';
import { Tensor } from '../../tensor/tensor';
import { defineModel } from '../define';
import {
  convolution,
  dense,
  type Find,
  feedForward,
  type Layer,
  layerNorm,
  layerOf,
  projected,
  tokensOf,
  within,
} from './layers';
import { classLoss } from './losses';
import {
  CLASSIFIER,
  channelsFirst,
  channelsLast,
  type HeadSettings,
  networkOf,
  photographs,
  pictureParams,
  SMALL_PICTURES,
  STAGE_NAMES,
  samplePicture,
} from './picture-network';
import { trainedHere } from './trained';

interface DeitConfig {
  readonly width: number;
  readonly heads: number;
  readonly depth: number;
  /** Pixels of a patch, and patches of a picture, along both axes. */
  readonly patch: number;
  readonly patches: number;
}

const variant = (width: number, heads: number) => ({ width, heads, depth: 12, patch: 16, patches: 14 });
const VARIANTS = {
  ti: variant(192, 3),
  s: variant(384, 6),
  b: variant(768, 12),
  mini: { width: 40, heads: 5, depth: 4, patch: 4, patches: 7 },
} satisfies Record<string, DeitConfig>;

/** Layers before which the authors prune. */
const LAYERS = [4, 7, 10];
/** The share of all multiplications that training aims at. */
const BUDGET = 0.65;
const numbers = valibot.pipe(valibot.array(valibot.number()), valibot.minLength(1));

export const deit = defineModel({
  name: 'deit',
  summary: 'classes of a picture, by a transformer that may prune its tokens: DeiT, AS-ViT',
  paper: '2209.13802',
  ...CLASSIFIER,
  outputs: { ...CLASSIFIER.outputs, kept: 'b pruned' },
  sometimes: ['kept', ...STAGE_NAMES],
  params: pictureParams(VARIANTS, 'ti', {
    prune: valibot.optional(
      valibot.pipe(
        valibot.strictObject({
          layers: valibot.optional(
            valibot.pipe(
              valibot.array(valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1))),
              valibot.minLength(1),
            ),
            LAYERS,
          ),
          thresholds: valibot.optional(numbers),
          budget: valibot.optional(valibot.pipe(valibot.number(), valibot.minValue(0), valibot.maxValue(1)), BUDGET),
        }),
        valibot.description(
          'layers before which tokens are pruned, and the thresholds of their scores, else those of the weights; budget: the share of the multiplications that training aims at',
        ),
      ),
    ),
  }),
  network: ({ variant, ...settings }) => ({
    ...deitNetwork(VARIANTS[variant], settings),
    pictures: variant === 'mini' ? SMALL_PICTURES : photographs(0.9),
  }),
  sample: () => ({ params: { variant: 'ti', classes: 10 }, inputs: { x: samplePicture(224) } }),
  published: trainedHere(
    'deit',
    { variant: 'mini', classes: 10 },
    () => new URL('./trained/deit/model.safetensors', import.meta.url),
    () => new URL('./trained/deit/config.json', import.meta.url),
  ),
});

interface Pruning {
  readonly layers: readonly number[];
  readonly thresholds?: readonly number[] | undefined;
  readonly budget?: number | undefined;
}

const EPSILON = 1e-6;
/** How soft a threshold is for its gradient. */
const TEMPERATURE = 1e-4;
/** Thresholds that training starts from. */
const FIRST_THRESHOLDS = [0.001, 0.002, 0.003];
/** How much a miss of the budget counts beside the cross-entropy. */
const BUDGET_WEIGHT = 2;
const thresholdName = (at: number) => `score_predictor.${at}.keep_threshold`;

interface DeitSettings extends HeadSettings {
  readonly prune?: Pruning | undefined;
}

/** What networks of a configuration consist of. */
function builtOf(config: DeitConfig, classes: number) {
  const { width: c, heads, depth, patch } = config;
  return {
    config,
    blocks: Array.from({ length: depth }, (_, at) => ({ name: `blocks.${at}`, ...blockOf(c, heads) })),
    parts: {
      'patch_embed.proj': convolution(3, c, { kernel: patch, stride: patch, padding: 0, std: 0.02 }),
      norm: layerNorm(c),
      head: dense(c, classes),
    },
  };
}

export function deitNetwork(config: DeitConfig, { classes, prune, features = false }: DeitSettings) {
  checkPruning(config, prune);
  if (features && prune)
    throw new ParameterError('features need all tokens, of which prune leaves some out: leave one of them out');
  const built = builtOf(config, classes);
  const { blocks, parts } = built;
  const all: Described = Object.assign(
    ownOf(config, prune),
    ...blocks.map(({ name, parameters }) => prefixed(parameters, name)),
  );
  const layer = layerOf(parts, all, (x, { 'patch_embed.proj': embed, norm, head }, tensors, control) => {
    const find: Find = (name) => tensors[name];
    const kept: Tensor<'f32'>[] = [];
    let score: Tensor<'f32'> | undefined;
    let policy: Tensor<'f32'> | undefined;
    let h = embedded(embed(checkedPixels(x, config)), find, config);
    const stages: Tensor<'f32'>[] = [];
    for (const [at, block] of blocks.entries()) {
      const stage = prune?.layers.indexOf(at) ?? -1;
      if (prune && stage >= 0) {
        policy = pruned(score as Tensor<'f32'>, thresholdOf(x, find, prune, stage), policy, control);
        kept.push(sum(policy, { axes: [1], keepDims: true }));
      }
      const isScored = prune?.layers.includes(at + 1) ?? false;
      ({ h, score } = block.run(h, within(find, block.name), control, { policy, isScored }));
      if (features && ((at + 1) * STAGE_NAMES.length) % config.depth === 0) stages.push(gridOf(h, config));
    }
    const logits = classified(norm(h), head);
    if (!prune) return { logits, ...Object.fromEntries(stages.map((each, at) => [STAGE_NAMES[at], each])) };
    const counts = concat(kept, 1);
    return { logits, kept: control.training ? counts : cast(counts, 'i32') };
  });

  const network = networkOf(layer, /^score_predictor\./);
  const findIn =
    (parameters: Parameters): Find =>
    (name) =>
      parameters[name] as Tensor | undefined;
  return {
    ...network,
    ...(prune && {
      loss: ({ logits, kept }: { readonly logits: Tensor; readonly kept?: Tensor }, labels: Tensor) =>
        addScaled(classLoss(logits, labels), BUDGET_WEIGHT, pruningLossOf(kept as Tensor, config, prune)),
    }),
    async infer(inputs: { readonly x: Tensor }, parameters: Parameters, control: ModuleControl) {
      if (!prune) return network.forward(inputs, parameters, control);
      using x = channelsLast(inputs.x);
      const { logits, counts } = await dropping(built, prune, x, findIn(parameters), control);
      return { logits, kept: x.runtime.tensor(counts.flat(), [counts.length, prune.layers.length], 'i32') };
    },
    /** What the class token saw of one picture, where tokens were pruned and in the last layer. */
    async glances({ x }: { readonly x: Tensor }, parameters: Parameters, control: ModuleControl) {
      const found: Glance[] = [];
      using picture = channelsLast(x);
      const onGlance = (glance: Glance) => found.push(glance);
      const { logits } = await dropping(built, prune, picture, findIn(parameters), control, onGlance);
      logits.dispose();
      return found;
    },
  };
}

/**
 * Logits of pictures, each of which loses its own tokens, and how many it has from each layer of pruning on. Tokens that are left
 * of all pictures are rows of one matrix: attention alone goes picture by picture. `onGlance` is told of the first one.
 */
async function dropping(
  { config, blocks, parts }: ReturnType<typeof builtOf>,
  prune: Pruning | undefined,
  x: Tensor,
  find: Find,
  control: ModuleControl,
  onGlance?: (glance: Glance) => void,
) {
  const { depth, patches, width: c } = config;
  const call = (name: keyof typeof parts, y: Tensor) => parts[name].forward(y, within(find, name), control);
  const b = x.shape[0] as number;
  let tokens = Array.from({ length: b }, () => Array.from({ length: patches ** 2 }, (_, at) => at));
  const counts: number[][] = tokens.map(() => []);
  let h = x.runtime.scope(() => embedded(call('patch_embed.proj', checkedPixels(x, config)), find, config));
  let scores: Float32Array[] = [];
  for (const [at, block] of blocks.entries()) {
    control.signal?.throwIfAborted();
    const stage = prune?.layers.indexOf(at) ?? -1;
    if (prune && stage >= 0) {
      using threshold = thresholdOf(x, find, prune, stage);
      const least = (await threshold.read())[0] as number;
      const places = scores.map((of) => [...of.keys()].filter((place) => (of[place] as number) > least));
      const left = places.map((of, each) => of.map((place) => tokens[each]?.[place] as number));
      onGlance?.({ layer: at, tokens: tokens[0]!, scores: scores[0]!, kept: left[0]! });
      using all = h;
      const starts = classRows(tokens);
      h = rowsOf(
        all,
        places.flatMap((of, each) => [-1, ...of].map((place) => (starts[each] as number) + 1 + place)),
      );
      tokens = left;
      for (const [each, { length }] of tokens.entries()) counts[each]?.push(1 + length);
    }
    const isLast = at + 1 === depth && onGlance !== undefined;
    const isScored = tokens.some(({ length }) => length > 0) && (isLast || (prune?.layers.includes(at + 1) ?? false));
    const lengths = b > 1 && h.shape[0] === 1 ? tokens.map(({ length }) => 1 + length) : undefined;
    using before = h;
    const after = block.run(before, within(find, block.name), control, { policy: undefined, isScored, lengths });
    h = after.h;
    using score = after.score;
    scores = apart(score ? await score.read() : new Float32Array(), tokens);
    if (isLast) onGlance({ layer: depth, tokens: tokens[0]!, scores: scores[0]!, kept: tokens[0]! });
  }
  using last = h;
  const logits = x.runtime.scope(() => {
    const first = rowsOf(last, classRows(tokens)).reshape([b, 1, 1, c]);
    return classified(call('norm', first), (y) => call('head', y));
  });
  return { logits, counts };
}

/** Where each picture's class token lies among the tokens of all. */
function classRows(tokens: readonly (readonly number[])[]): number[] {
  let row = 0;
  return tokens.map(({ length }) => {
    const own = row;
    row += 1 + length;
    return own;
  });
}

/** The scores of each picture's tokens. */
function apart(scores: Float32Array, tokens: readonly (readonly number[])[]): Float32Array[] {
  let first = 0;
  return tokens.map(({ length }) => {
    first += length;
    return scores.subarray(first - length, first);
  });
}

/** What the class token saw of the patches that were left before a layer, or after the last one. */
export interface Glance {
  readonly layer: number;
  /** Patches by their places in the grid, row by row, and their scores. */
  readonly tokens: readonly number[];
  readonly scores: Float32Array;
  /** Those that are left then. */
  readonly kept: readonly number[];
}

/** The class token, positions and, where they are learned, thresholds. */
function ownOf({ width: c, patches }: DeitConfig, prune: Pruning | undefined): Record<string, Described[string]> {
  const token = { initial: { std: 0.02 } };
  const learned = prune && !prune.thresholds ? prune.layers : [];
  const thresholds = learned.map((_, at) => [
    thresholdName(at),
    { shape: [], initial: { value: FIRST_THRESHOLDS[at] ?? 0.003 } },
  ]);
  return {
    cls_token: { shape: [1, 1, c], ...token },
    pos_embed: { shape: [1, patches ** 2 + 1, c], ...token },
    ...Object.fromEntries(thresholds),
  };
}

/** x [b, rows, columns, 3], if it has the pixels of the positions. */
function checkedPixels(x: Tensor, { patch, patches }: DeitConfig): Tensor {
  const [, rows, columns] = x.shape as [number, number, number];
  const pixels = patch * patches;
  if (rows === pixels && columns === pixels) return x;
  throw new ShapeError(`x must be ${pixels} x ${pixels} pixels, as the positions are, got ${rows} x ${columns}`);
}

/** Logits [b, classes] of normed tokens [b, 1, n, c], by that of the class. */
const classified = (h: Tensor<'f32'>, head: (x: Tensor) => Tensor<'f32'>): Tensor<'f32'> =>
  head(contiguous(h.slice(2, 0, 1))).reshape([h.shape[0] as number, -1]);

/** Tokens [b, 1, 1 + n, c] without that of the class as a grid, [b, c, rows, columns]. */
function gridOf(h: Tensor, { patches: side, width: c }: DeitConfig): Tensor<'f32'> {
  const tokens = contiguous((h as Tensor<'f32'>).slice(2, 1, 1 + side ** 2));
  return channelsFirst(tokens.reshape([h.shape[0] as number, side, side, c]));
}

/** Rows of these places, of [..., c]. */
function rowsOf(h: Tensor, places: readonly number[]): Tensor<'f32'> {
  const c = h.shape[3] as number;
  return h.runtime.scope(() => {
    const indices = h.runtime.tensor(Int32Array.from(places), [places.length], 'i32');
    return gather((h as Tensor<'f32'>).reshape([-1, c]), indices).reshape([1, 1, places.length, c]);
  });
}

/** Patches behind the class token, with their positions: [b, 1, n, c]. */
function embedded(patches: Tensor<'f32'>, find: Find, { patches: side, width: c }: DeitConfig): Tensor {
  const [b] = patches.shape as [number];
  const first = find('cls_token') as Tensor;
  const tokens = concat(
    [contiguous((first as Tensor<'f32'>).expand([b, 1, c])), patches.reshape([b, side * side, c])],
    1,
  );
  return add(tokens, find('pos_embed') as Tensor).reshape([b, 1, side * side + 1, c]);
}

interface Attending {
  /** [b, n]: 1 for tokens that count; undefined before any is pruned. */
  readonly policy: Tensor<'f32'> | undefined;
  readonly isScored: boolean;
  /** Of pictures whose tokens lie side by side: how many each has. */
  readonly lengths?: readonly number[] | undefined;
}

type Projections = readonly [q: Tensor, k: Tensor, v: Tensor];
type Attended = Pick<Scored, 'out'> & Partial<Pick<Scored, 'score'>>;

function attend([q, k, v]: Projections, { policy, isScored, lengths }: Attending): Attended {
  if (!lengths)
    return policy || isScored
      ? scoredAttention(q, k, v, EPSILON, policy)
      : { out: attention(q, k, v).out as Tensor<'f32'> };
  let past = 0;
  const each = lengths.map((length) => {
    past += length;
    const own = [q, k, v].map((x) => x.slice(1, past - length, past)) as unknown as Projections;
    return attend(own, { policy, isScored: isScored && length > 1 });
  });
  const scores = each.flatMap(({ score }) => score ?? []);
  const out = concat(
    each.map(({ out }) => out),
    1,
  );
  return { out, ...(scores.length > 0 && { score: concat(scores, 1) }) };
}

function blockOf(c: number, heads: number) {
  const parts = {
    norm1: layerNorm(c),
    'attn.proj': dense(c, c),
    norm2: layerNorm(c),
    mlp: feedForward(c, 4 * c, ['fc1', 'fc2']),
  };
  const qkv: Described = {
    'attn.qkv.weight': { shape: [3 * c, c], initial: { std: 0.02 } },
    'attn.qkv.bias': { shape: [3 * c], initial: { value: 0 } },
  };
  const named = Object.entries<Layer>(parts).map(([name, { parameters }]) => prefixed(parameters, name));
  return {
    parameters: Object.assign({ ...qkv }, ...named) as Described,
    run(x: Tensor, find: Find, control: ModuleControl, how: Attending) {
      const call = (name: keyof typeof parts, y: Tensor) => parts[name].forward(y, within(find, name), control);
      return x.runtime.scope(() => {
        const split = projected(call('norm1', x), heads, find('attn.qkv.weight') as Tensor, find('attn.qkv.bias'));
        const { out, score } = attend(split.map(tokensOf) as unknown as Projections, how);
        const h = add(x, call('attn.proj', out.reshape(x.shape)));
        return { h: add(h, call('mlp', call('norm2', h))) as Tensor, score };
      });
    },
  };
}

function thresholdOf({ runtime }: Tensor, find: Find, { thresholds }: Pruning, stage: number): Tensor<'f32'> {
  return thresholds
    ? runtime.tensor([thresholds[stage] as number], [1])
    : (find(thresholdName(stage)) as Tensor<'f32'>).reshape([1]);
}

/** [b, n], f32: the class token, and the tokens of a score above the threshold; training has gradients of both. */
function pruned(
  score: Tensor<'f32'>,
  threshold: Tensor<'f32'>,
  before: Tensor<'f32'> | undefined,
  { training }: ModuleControl,
): Tensor<'f32'> {
  const { runtime } = score;
  const [b] = score.shape as [number];
  const margin = multiply(subtract(score, threshold), runtime.tensor([1 / TEMPERATURE], [1]));
  const isAbove = step(margin);
  const soft = training && sigmoid(margin);
  const hard = soft ? add(soft, stopGradient(subtract(isAbove, soft))) : isAbove;
  const first = runtime.tensor(new Float32Array(b).fill(1), [b, 1]);
  const kept = concat([first, hard], 1);
  // What was pruned stays so, even where a threshold falls below 0; each policy has the gradients of its own threshold alone.
  return before ? multiply(kept, training ? stopGradient(before) : before) : kept;
}

/** loss + weight other, of one number each. */
const addScaled = (loss: Tensor, weight: number, other: Tensor) =>
  map((value, more, { weight }) => value + weight * more, loss, other, { captured: { weight } }) as Tensor;

export interface PruningLossOptions {
  /** The network's variant; default `ti`. */
  readonly variant?: keyof typeof VARIANTS | undefined;
  /** Those of the param `prune`; default 4, 7, 10. */
  readonly layers?: readonly number[] | undefined;
  /** The share of all multiplications that is aimed at; default 0.65. */
  readonly budget?: number | undefined;
}

/**
 * How far the multiplications of pruned pictures are, in the mean, from the share that is aimed at: |mean / all - budget|, as the
 * paper has it, which weighs it 2 beside a cross-entropy. Counted are the embedding of patches and in each block, with n tokens
 * of d channels and m hidden ones, 4 n d^2 + 2 n^2 d + 2 n d m; all of them are, as in the authors' code, without the class token.
 *
 * @param kept [b, layers], how many tokens count after each layer of pruning: of a training pass, with their gradients
 * @returns []
 */
export function pruningLoss(kept: Tensor, options: PruningLossOptions = {}): Tensor<'f32'> {
  checkOptions('pruningLoss', options, ['variant', 'layers', 'budget']);
  const { variant = 'ti', layers = LAYERS, budget = BUDGET } = options;
  checkChoice('variant', variant, Object.keys(VARIANTS));
  checkNumbers('layers', layers, 'integers', Number.isInteger);
  checkNumber('budget', budget, 'from 0 to 1', (value) => value >= 0 && value <= 1);
  return pruningLossOf(kept, VARIANTS[variant], { layers, budget });
}

function pruningLossOf(kept: Tensor, config: DeitConfig, { layers, budget = BUDGET }: Pruning): Tensor<'f32'> {
  checkPruning(config, { layers });
  if (!(kept instanceof Tensor)) throw new ParameterError(`kept must be a Tensor, got ${show(kept)}`);
  if (kept.rank !== 2 || kept.shape[1] !== layers.length)
    throw new ShapeError(`kept must have shape [b, ${layers.length}], that of layers, got ${formatShape(kept.shape)}`);
  const { width: d, depth, patch, patches } = config;
  const [each, pairs] = [4 * d * d + 2 * d * 4 * d, 2 * d];
  const block = (n: number) => each * n + pairs * n * n;
  const embedding = patches ** 2 * d * 3 * patch ** 2;
  const all = embedding + depth * block(patches ** 2);
  const first = embedding + (layers[0] as number) * block(patches ** 2 + 1);
  const counts = layers.map((layer, at) => (layers[at + 1] ?? depth) - layer);
  const { runtime } = kept;
  return runtime.scope(() => {
    const shares = map(
      (n, blocks, { each, pairs }) => blocks * (each * n + pairs * n * n),
      kept,
      runtime.tensor(
        counts.map((count) => count / all),
        [layers.length],
      ),
      { captured: { each, pairs } },
    );
    const distance = (share: number, { aim }: { aim: number }) => Math.abs(share - aim);
    return map(distance, mean(sum(shares, { axes: [1] })), {
      captured: { aim: budget - first / all },
    }) as Tensor<'f32'>;
  });
}

function checkPruning({ depth }: DeitConfig, prune: Pruning | undefined): void {
  if (!prune) return;
  const { layers, thresholds } = prune;
  if (layers.some((layer, at) => layer >= depth || layer <= (layers[at - 1] ?? 0)))
    throw new ParameterError(`prune.layers must rise from 1 to at most ${depth - 1}, got ${layers.join(', ')}`);
  if (thresholds && thresholds.length !== layers.length)
    throw new ParameterError(`prune.thresholds must be ${layers.length}, one for each layer, got ${thresholds.length}`);
}
