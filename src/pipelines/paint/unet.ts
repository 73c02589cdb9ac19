/**
 * A small U-Net of latents 16 x 16 x 4, at 16 x 16 and at 8 x 8 places: convolutions, self-attention among places, and
 * cross-attention to the tokens of a prompt. It predicts velocities.
 */
import type { Described } from '../../nn/module';
import { attention } from '../../ops/attention';
import { concat } from '../../ops/copy';
import { gather } from '../../ops/gather';
import { add, silu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { matmul } from '../../ops/matmul';
import { pixelShuffle } from '../../ops/pixel-shuffle';
import { mean } from '../../ops/reduce';
import { softmax } from '../../ops/softmax';
import type { Tensor } from '../../tensor/tensor';
import { active, convolved, dense, layers, normed, norms, type Weights } from '../layers';
import { CHANNELS } from './codec';
import { TOKENS } from './prompts';

const [WIDE, DEEP] = [32, 64];
const HEADS = 2;
/** Steps of the schedule of noise. */
export const NOISE_STEPS = 1000;
/** Numbers of a token, and of a time. */
const [TEXT, TIME] = [32, 64];
/** The names of the blocks, and their channels in and out. */
const BLOCKS = { down: [WIDE, WIDE], deep: [DEEP, DEEP], deep2: [DEEP, DEEP], up: [WIDE + WIDE, WIDE] } as const;
/** The attentions of both kinds, and their channels. */
const SIGHTS = { down: WIDE, deep: DEEP, up: WIDE } as const;

export const painterParameters = (vocabulary: number): Described => ({
  tokens: { shape: [vocabulary, TEXT], initial: { std: 1 } },
  positions: { shape: [TOKENS, TEXT], initial: { std: 0.5 } },
  ...layers({
    'time.0': [TIME, TIME],
    'time.1': [TIME, TIME],
    first: [WIDE, CHANNELS, 3, 3],
    halve: [DEEP, WIDE, 3, 3],
    double: [4 * WIDE, DEEP, 1, 1],
    'last.out': [CHANNELS, WIDE, 3, 3],
  }),
  ...norms({ 'last.norm': WIDE }),
  ...parametersOfBlocks(),
});

function parametersOfBlocks(): Described {
  const blocks = Object.entries(BLOCKS).map(([name, [into, out]]) => ({
    ...norms({ [`${name}.norm`]: into, [`${name}.norm2`]: out }),
    ...layers({
      [`${name}.conv`]: [out, into, 3, 3],
      [`${name}.time`]: [out, TIME],
      [`${name}.conv.out`]: [out, out, 3, 3],
      ...(into !== out && { [`${name}.across`]: [out, into, 1, 1] }),
    }),
  }));
  const sights = Object.entries(SIGHTS).map(([name, width]) => ({
    ...norms({ [`${name}.self.norm`]: width, [`${name}.cross.norm`]: width }),
    ...layers({
      [`${name}.self.q`]: [width, width],
      [`${name}.self.k`]: [width, width],
      [`${name}.self.v`]: [width, width],
      [`${name}.self.out`]: [width, width],
      [`${name}.cross.q`]: [width, width],
      [`${name}.cross.k`]: [width, TEXT],
      [`${name}.cross.v`]: [width, TEXT],
      [`${name}.cross.out`]: [width, width],
    }),
  }));
  return Object.assign({}, ...blocks, ...sights);
}

/** Attention of places q, k, v [b, n, h, d] whose block began with `tokens` [b, n, c]. */
export type SelfAttention = (q: Tensor, k: Tensor, v: Tensor, tokens: Tensor) => Tensor;

/** Weights at 16 x 16 places, the mean over heads: [b, 256, 12] of cross-attention, [b, 256, 256] of self-attention. */
export interface Maps {
  readonly cross: Tensor;
  readonly self: Tensor;
}

export interface Glance {
  /** [b, 16, 16, 4]. */
  readonly x: Tensor;
  /** For each picture, from 0 to 1: how much of the schedule is gone. */
  readonly times: readonly number[];
  /** [b, 12], i32. */
  readonly tokens: Tensor;
}

export interface SeeOptions {
  /** In the place of all places at once, where there are 256 of them. */
  readonly attend?: SelfAttention | undefined;
  /** Takes the maps of each attention at 16 x 16 places; weights are then computed as matrices. */
  readonly onMaps?: ((maps: Maps) => void) | undefined;
}

/** The predicted velocities, [b, 16, 16, 4]. */
export function predicted(p: Weights, { x, times, tokens }: Glance, options: SeeOptions = {}): Tensor<'f32'> {
  const time = dense(p, 'time.1', silu(dense(p, 'time.0', timeFeatures(x, times))));
  const text = add(gather(p.tokens as Tensor<'f32'>, tokens), p.positions as Tensor);
  const pass = (name: keyof typeof BLOCKS, x: Tensor) => block(p, name, x, time);
  const look = (name: keyof typeof SIGHTS, x: Tensor) => seen(p, name, x, text, name === 'deep' ? {} : options);
  const wide = look('down', pass('down', convolved(p, 'first', x)));
  const deep = pass('deep2', look('deep', pass('deep', convolved(p, 'halve', wide, 2))));
  const up = pixelShuffle(convolved(p, 'double', deep), 2);
  const last = look('up', pass('up', concat([up, wide] as Tensor<'f32'>[], 3)));
  return convolved(p, 'last.out', active(p, 'last.norm', last));
}

/** Sines and cosines of times, [b, 64]. */
export function timeFeatures({ runtime }: Tensor, times: readonly number[]): Tensor<'f32'> {
  const half = TIME / 2;
  const values = times.flatMap((time) =>
    Array.from({ length: TIME }, (_, at) => {
      const angle = time * 1000 ** ((at % half) / (half - 1));
      return at < half ? Math.sin(angle) : Math.cos(angle);
    }),
  );
  return runtime.tensor(values, [times.length, TIME]);
}

/** Two convolutions that change x, told the time between them. */
function block(p: Weights, name: string, x: Tensor, time: Tensor): Tensor<'f32'> {
  const h = convolved(p, `${name}.conv`, active(p, `${name}.norm`, x));
  const told = dense(p, `${name}.time`, silu(time));
  const shifted = add(h, told.reshape([told.shape[0] as number, 1, 1, told.shape[1] as number]));
  const change = convolved(p, `${name}.conv.out`, active(p, `${name}.norm2`, shifted));
  return add(p[`${name}.across.weight`] ? convolved(p, `${name}.across`, x) : x, change);
}

/** Self-attention and cross-attention, each of which changes x [b, rows, columns, c]. */
function seen(p: Weights, name: string, x: Tensor, text: Tensor, { attend, onMaps }: SeeOptions): Tensor<'f32'> {
  const [b, rows, columns, c] = x.shape as [number, number, number, number];
  const inHeads = (x: Tensor) => x.reshape([b, x.shape[1] as number, HEADS, c / HEADS]);
  const places = (x: Tensor) => x.reshape([b, rows * columns, c]);
  const kinds = [`${name}.self`, `${name}.cross`] as const;
  const maps: Tensor[] = [];
  let h = x;
  for (const [at, kind] of kinds.entries()) {
    const own = places(normed(p, `${kind}.norm`, h));
    const source = at === 0 ? own : text;
    const [q, k, v] = [dense(p, `${kind}.q`, own), dense(p, `${kind}.k`, source), dense(p, `${kind}.v`, source)].map(
      inHeads,
    ) as [Tensor, Tensor, Tensor];
    let out: Tensor;
    if (onMaps) {
      const weighed = weightsAndResult(q, k, v);
      maps.push(weighed.weights);
      out = weighed.out;
    } else out = at === 0 && attend ? attend(q, k, v, places(h)) : attention(q, k, v).out;
    h = add(h, dense(p, `${kind}.out`, out.reshape([b, rows * columns, c])).reshape(x.shape));
  }
  const [self, cross] = maps;
  if (self && cross) onMaps?.({ self, cross });
  return h as Tensor<'f32'>;
}

/** Attention by its matrix: the mean of weights over heads [b, n, m], and the result [b, n, h, d]. */
function weightsAndResult(q: Tensor, k: Tensor, v: Tensor) {
  const [queries, keys, values] = [q, k, v].map((each) => each.permute([0, 2, 1, 3])) as [Tensor, Tensor, Tensor];
  const scale = 1 / Math.sqrt(q.shape[3] as number);
  const scores = map((x, { scale }) => scale * x, matmul(queries, keys, { transposeB: true }), { captured: { scale } });
  const weights = softmax(scores);
  const out = map((x) => x, matmul(weights, values).permute([0, 2, 1, 3]));
  return { weights: mean(weights, { axes: [1] }), out: out as Tensor };
}
