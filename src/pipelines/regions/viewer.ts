/**
 * A small model of pictures and words: places of one view of a picture or several, which convolutions encode, then questions about it,
 * each answered by one word. Places see one another; a question sees all places and its own words before, so that many share a picture.
 * Letters: b pictures, n places of all views, s questions, w width, h heads.
 */
import { checkArray, checkKnown, checkWhole } from '../../check';
import { ParameterError } from '../../errors';
import { from, type Mask } from '../../masks';
import { pairProducts } from '../../methods/weights';
import type { Described } from '../../nn/module';
import { project, projectAll } from '../../nn/projection';
import { attention } from '../../ops/attention';
import { conv } from '../../ops/conv';
import { concat, contiguous } from '../../ops/copy';
import { cumulativeSum } from '../../ops/cumulative-sum';
import { gather } from '../../ops/gather';
import { add, gelu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { rmsNorm } from '../../ops/norm';
import { mean } from '../../ops/reduce';
import type { Tensor } from '../../tensor/tensor';
import { ANSWERS, CELLS, QUESTION, WORDS } from './words';

export interface ViewerConfig {
  /** Places of a view along both axes; it has twice as many pixels. */
  readonly side: number;
  readonly width: number;
  readonly heads: number;
  readonly hidden: number;
  readonly layers: number;
  /** Layers below the predictor of regions, which stay as they are, and its own. */
  readonly frozen: number;
  readonly predictor: number;
  /** Whose attention teaches the predictor. */
  readonly teacher: { readonly layer: number; readonly heads: readonly number[] };
}

const VIEWER: ViewerConfig = {
  side: 12,
  width: 64,
  heads: 4,
  hidden: 128,
  layers: 4,
  frozen: 2,
  predictor: 2,
  teacher: { layer: 0, heads: [0, 2, 3] },
};

const COUNTS = ['side', 'width', 'heads', 'hidden', 'layers', 'frozen', 'predictor'] as const;

/** @throws {ParameterError} settings that make no model */
export function viewerConfig(given: Readonly<Record<string, unknown>>, what = 'params'): ViewerConfig {
  checkKnown(what, given, [...COUNTS, 'teacher'], (name) => `the model has no '${name}'`);
  const config = { ...VIEWER, ...given } as ViewerConfig;
  for (const name of COUNTS) checkWhole(name, config[name], 1, 4096);
  const { side, width, heads, layers, frozen, predictor, teacher } = config;
  if (side % CELLS !== 0)
    throw new ParameterError(`side must be a multiple of the ${CELLS} cells of a picture, got ${side}`);
  if (width % (2 * heads) !== 0)
    throw new ParameterError(`width must be a multiple of twice the heads, ${2 * heads}, got ${width}`);
  if (frozen + predictor > layers)
    throw new ParameterError(
      `frozen and predictor must be at most the ${layers} layers, got ${frozen} and ${predictor}`,
    );
  checkKnown('teacher', teacher, ['layer', 'heads'], (name) => `teacher has no '${name}'`);
  checkWhole('layer of teacher', teacher.layer, 0, layers - 1);
  checkArray('heads of teacher', teacher.heads);
  for (const head of teacher.heads) checkWhole('each of the heads of teacher', head, 0, heads - 1);
  return config;
}

type Parameters = Readonly<Record<string, Tensor>>;

/** A view [b, 2 side, 2 side, 3], and which of its places count for all pictures: i32 [k], by default all. */
export interface View {
  readonly pixels: Tensor;
  readonly kept?: Tensor | undefined;
}

/** What the model is given: the first view is of the whole picture. */
export interface Asked {
  readonly views: readonly View[];
  /** [b, 3 s] i32. */
  readonly words: Tensor;
}

/** The parameters of a block, by their names in it. */
export function blockParameters({ width, hidden, layers }: ViewerConfig): Described {
  const matrix = (out: number, into: number, scale = 1) => ({
    shape: [out, into],
    initial: { std: scale / Math.sqrt(into) },
  });
  const deep = 1 / Math.sqrt(2 * layers);
  return {
    'input_layernorm.weight': { shape: [width], initial: { value: 1 } },
    'self_attn.q_proj.weight': matrix(width, width),
    'self_attn.k_proj.weight': matrix(width, width),
    'self_attn.v_proj.weight': matrix(width, width),
    'self_attn.o_proj.weight': matrix(width, width, deep),
    'post_attention_layernorm.weight': { shape: [width], initial: { value: 1 } },
    'mlp.fc1.weight': matrix(hidden, width),
    'mlp.fc2.weight': matrix(width, hidden, deep),
  };
}

/** Channels of the encoder's convolutions of 3 x 3, before and after; the second one halves the extents. */
const channelsOf = (width: number) =>
  [
    [3, width / 2],
    [width / 2, width],
    [width, width],
  ] as const;

function encoderParameters(width: number): Described {
  const described: Record<string, Described[string]> = {
    // What each place shows, by which training alone goes too.
    'vision.names.weight': { shape: [ANSWERS.length, width], initial: { std: 1 / Math.sqrt(width) } },
  };
  for (const [at, [from, to]] of channelsOf(width).entries()) {
    described[`vision.${at}.weight`] = { shape: [to, from, 3, 3], initial: { std: Math.sqrt(2 / (9 * from)) } };
    described[`vision.${at}.bias`] = { shape: [to], initial: { value: 0 } };
  }
  return described;
}

/** The places of a view, [b, side, side, w]. */
export function encoded(p: Parameters, pixels: Tensor): Tensor<'f32'> {
  let x = pixels as Tensor<'f32'>;
  for (const [at] of channelsOf(2).entries()) {
    const y = conv(x, p[`vision.${at}.weight`] as Tensor, {
      bias: p[`vision.${at}.bias`] as Tensor,
      padding: 1,
      stride: at === 1 ? 2 : 1,
    });
    x = at === 2 ? add(x, y) : gelu(y);
  }
  return x;
}

/** Under the names that language models have, where they have one. */
export function viewerParameters(config: ViewerConfig): Described {
  const { side, width, layers } = config;
  const described: Record<string, Described[string]> = {
    ...encoderParameters(width),
    'positions.weight': { shape: [side ** 2, width], initial: { std: 0.2 } },
    'later.weight': { shape: [1, width], initial: { std: 0.5 } },
    'embed_tokens.weight': { shape: [WORDS.length, width], initial: { std: 1 } },
    'norm.weight': { shape: [width], initial: { value: 1 } },
    'lm_head.weight': { shape: [ANSWERS.length, width], initial: { std: 1 / Math.sqrt(width) } },
  };
  for (let layer = 0; layer < layers; layer++)
    for (const [name, each] of Object.entries(blockParameters(config))) described[`layers.${layer}.${name}`] = each;
  return described;
}

/** What a block computes: the tokens after it, and what its attention was. */
export interface Block {
  readonly h: Tensor;
  /** [b, t, h, d], and the logarithm of the sum of exponentials [b, t, h]. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly lse: Tensor;
}

/** One block on tokens [b, t, w], with parameters that begin with `name`. */
export function block(p: Parameters, name: string, x: Tensor, heads: number, mask: Mask): Block {
  const weight = (part: string) => p[`${name}.${part}.weight`] as Tensor;
  const [b, t, width] = x.shape as [number, number, number];
  const normed = rmsNorm(x, { gain: weight('input_layernorm') });
  const names = ['q', 'k', 'v'].map((part) => `${name}.self_attn.${part}_proj`);
  const [q, k, v] = projectAll(names, normed, p, {}).map((each) => each.reshape([b, t, heads, width / heads])) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const { out, lse } = attention(q, k, v, { mask });
  const seen = add(x, project(`${name}.self_attn.o_proj`, out.reshape([b, t, width]), p, {}));
  const inner = gelu(project(`${name}.mlp.fc1`, rmsNorm(seen, { gain: weight('post_attention_layernorm') }), p, {}));
  return { h: add(seen, project(`${name}.mlp.fc2`, inner, p, {})), q, k, lse };
}

const masks = new Map<number, Mask>();

/** Which tokens see which, where the first n are of views. */
export function maskOf(n: number): Mask {
  const found =
    masks.get(n) ??
    from(
      (_b, _h, q, k, { views, words }) =>
        k < views || (q >= k && Math.floor((q - views) / words) === Math.floor((k - views) / words)),
      { views: n, words: QUESTION },
    );
  masks.set(n, found);
  return found;
}

/** How many places there are in all. */
export const placesOf = ({ views }: Asked, { side }: ViewerConfig): number =>
  views.reduce((sum, { kept }) => sum + (kept?.size ?? side ** 2), 0);

/** The tokens before the first block: [b, n + 3 s, w]. */
export function embedded(p: Parameters, { views, words }: Asked, config: ViewerConfig): Tensor {
  const parts = views.map((view, at) => placesIn(p, view, config, at > 0));
  return concat([...parts, summed(gather(p['embed_tokens.weight'] as Tensor<'f32'>, words))], 1);
}

/** Each word [b, 3 s, w] with those before it in its question: the last one has all of it from the first block on. */
function summed(words: Tensor<'f32'>): Tensor<'f32'> {
  const [b, count, width] = words.shape as [number, number, number];
  const last = contiguous(words.reshape([b, count / QUESTION, QUESTION, width]).permute([0, 1, 3, 2]));
  return contiguous(cumulativeSum(last).permute([0, 1, 3, 2])).reshape(words.shape);
}

function placesIn(
  p: Parameters,
  { pixels, kept }: View,
  { side, width }: ViewerConfig,
  isLater: boolean,
): Tensor<'f32'> {
  const [b] = pixels.shape as [number];
  const places = side ** 2;
  const positions = p['positions.weight'] as Tensor;
  const own = isLater ? add(positions, p['later.weight'] as Tensor) : positions;
  const all = add(encoded(p, pixels).reshape([b, places, width]), own);
  if (!kept) return all;
  const byPlace = contiguous(all.permute([1, 0, 2])).reshape([places, b * width]);
  return contiguous(
    gather(byPlace as Tensor<'f32'>, kept)
      .reshape([kept.size, b, width])
      .permute([1, 0, 2]),
  );
}

/** The last tokens of questions, [b, s, ...] of [b, n + 3 s, ...]. */
export function lastWords(x: Tensor, n: number): Tensor<'f32'> {
  const [b, t, ...rest] = x.shape as [number, number, ...number[]];
  const s = (t - n) / QUESTION;
  const words = contiguous(x.slice(1, n, t) as Tensor<'f32'>).reshape([b, s, QUESTION, ...rest]);
  return contiguous(words.slice(2, QUESTION - 1, QUESTION)).reshape([b, s, ...rest]);
}

/** Blocks from one layer to before another. */
export function blocks(p: Parameters, x: Tensor, n: number, { heads }: ViewerConfig, [first, past]: readonly number[]) {
  const all: Block[] = [];
  for (let layer = first as number; layer < (past as number); layer++)
    all.push(block(p, `layers.${layer}`, all.at(-1)?.h ?? x, heads, maskOf(n)));
  return all;
}

/** Logits of answers [b, s, answers], and what each block did. */
export function answered(p: Parameters, asked: Asked, config: ViewerConfig) {
  const n = placesOf(asked, config);
  const all = blocks(p, embedded(p, asked, config), n, config, [0, config.layers]);
  const last = rmsNorm(lastWords((all.at(-1) as Block).h, n), { gain: p['norm.weight'] as Tensor });
  return { logits: project('lm_head', last, p, {}), blocks: all };
}

/** How much the token that gives the answer attends to each place of the first view, the mean over some heads: [b, s, side²]. */
export function attentionTo({ q, k, lse }: Block, n: number, places: number, heads: readonly number[]): Tensor<'f32'> {
  const some = (x: Tensor) =>
    concat(
      heads.map((head) => x.slice(2, head, head + 1) as Tensor<'f32'>),
      2,
    );
  const queries = some(lastWords(q, n));
  const keys = some(k.slice(1, 0, places));
  const [b, s, h, d] = queries.shape as [number, number, number, number];
  const products = pairProducts({ q: queries, k: keys });
  const sums = some(lastWords(lse, n)).reshape([b, s, h, 1]);
  const weights = map((product, sum, { scale }) => Math.exp(scale * product - sum), products, sums, {
    captured: { scale: 1 / Math.sqrt(d) },
  });
  return mean(weights, { axes: [2] });
}
