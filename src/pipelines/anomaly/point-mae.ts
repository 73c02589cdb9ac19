/**
 * A small Point-MAE: groups of points become tokens, and blocks of a transformer learn from those that are not masked to tell where
 * the points of the others are. Afterwards the tokens of its blocks are features of a cloud's places.
 * Source: Pang et al. 2022, arXiv 2203.06604; which features are taken, and by which attention, Lu et al. 2025, arXiv 2508.01311.
 */

import { randomPermutation } from '../../masks';
import { kernelAttention } from '../../methods/linear/kernel-attention';
import {
  type Module,
  type ModuleControl,
  type ModuleParameter,
  norm,
  type Parameters,
  partOf,
  prefixed,
} from '../../nn';
import { project, projection } from '../../nn/projection';
import { attention } from '../../ops/attention';
import { concat } from '../../ops/copy';
import { add, gelu, relu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { matmul } from '../../ops/matmul';
import { layerNorm } from '../../ops/norm';
import { max, mean, sum } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import type { Tensor } from '../../tensor/tensor';
import type { GroupSettings, Groups } from './groups';

export interface PointMaeConfig extends GroupSettings {
  readonly width: number;
  readonly heads: number;
  /** Blocks of the encoder, and of the decoder, which only training has. */
  readonly blocks: number;
  readonly decoderBlocks: number;
  /** After so many blocks of the encoder tokens are features. */
  readonly taken: number;
  /** The share of groups that training masks. */
  readonly masked: number;
}

/** The network that is trained here. */
export const POINT_MAE: PointMaeConfig = {
  ...{ points: 2048, groups: 128, size: 32 },
  ...{ width: 96, heads: 3, blocks: 4, decoderBlocks: 2, taken: 2, masked: 0.75 },
};

/** Random features of a head where kernel attention takes the place of the softmax, and their seed. */
export interface KernelSettings {
  readonly features: number;
  readonly seed: number;
}

/** Channels of the points of a group, before and after their largest are taken. */
const [FIRST, SECOND, THIRD] = [32, 64, 128];
/** Coordinates within a group are about a fifth of the cloud's. */
const CLOSER = 5;

const batchNorm = (width: number): Module => norm({ kind: 'batch', width });
const FIRST_NORM = batchNorm(FIRST);
const THIRD_NORM = batchNorm(THIRD);
const BIAS = { bias: true };

/** Matrices start so that numbers keep their size. */
function layers(
  shapes: Readonly<Record<string, readonly [out: number, into: number]>>,
): Record<string, ModuleParameter> {
  const parameters: Record<string, ModuleParameter> = {};
  for (const [name, [out, into]] of Object.entries(shapes)) {
    Object.assign(parameters, projection(name, out, into, BIAS));
    parameters[`${name}.weight`] = { shape: [out, into], initial: { std: Math.sqrt(1 / into) } };
  }
  return parameters;
}

const ones = (width: number): ModuleParameter => ({ shape: [width], initial: { value: 1 } });
const zeros = (width: number): ModuleParameter => ({ shape: [width], initial: { value: 0 } });

function blockParameters(width: number): Record<string, ModuleParameter> {
  const norms = Object.fromEntries(
    ['norm1', 'norm2'].flatMap((name) => [
      [`${name}.weight`, ones(width)],
      [`${name}.bias`, zeros(width)],
    ]),
  );
  return {
    ...norms,
    ...layers({
      'attn.q': [width, width],
      'attn.k': [width, width],
      'attn.v': [width, width],
      'attn.proj': [width, width],
      'mlp.fc1': [4 * width, width],
      'mlp.fc2': [width, 4 * width],
    }),
  };
}

/** Its parameters, and the buffers of its batch norms. */
export function pointMaeParameters(config: PointMaeConfig): Record<string, ModuleParameter> {
  const { width, blocks, decoderBlocks, size } = config;
  const parameters: Record<string, ModuleParameter> = {
    ...layers({
      'group.first': [FIRST, 3],
      'group.second': [SECOND, FIRST],
      'group.own': [THIRD, SECOND],
      'group.all': [THIRD, SECOND],
      'group.last': [width, THIRD],
      'position.0': [128, 3],
      'position.1': [width, 128],
      'decoder_position.0': [128, 3],
      'decoder_position.1': [width, 128],
      points: [3 * size, width],
    }),
    ...prefixed(FIRST_NORM.parameters, 'group.first_norm'),
    ...prefixed(THIRD_NORM.parameters, 'group.own_norm'),
    mask_token: { shape: [width], initial: { std: 0.02 } },
    'norm.weight': ones(width),
    'norm.bias': zeros(width),
    'decoder_norm.weight': ones(width),
    'decoder_norm.bias': zeros(width),
  };
  for (let block = 0; block < blocks; block++)
    Object.assign(parameters, prefixed(blockParameters(width), `blocks.${block}`));
  for (let block = 0; block < decoderBlocks; block++)
    Object.assign(parameters, prefixed(blockParameters(width), `decoder.${block}`));
  return parameters;
}

const layer = (p: Parameters, name: string, x: Tensor) => project(name, x, p, {});
const normalise = (p: Parameters, name: string, x: Tensor) =>
  layerNorm(x, { gain: p[`${name}.weight`] as Tensor, bias: p[`${name}.bias`] as Tensor });
const positionOf = (p: Parameters, name: string, centers: Tensor) =>
  layer(p, `${name}.1`, gelu(layer(p, `${name}.0`, centers)));

/** Groups [count, size, 3] -> tokens [count, width]: a small PointNet. */
function tokensOf(p: Parameters, groups: Tensor, control: ModuleControl): Tensor {
  const [count, size] = groups.shape as [number, number, number];
  const near = map((x, { closer }) => x * closer, groups, { captured: { closer: CLOSER } });
  const normed = (module: Module, name: string, x: Tensor) => relu(module.forward(x, partOf(p, name), control));
  const first = normed(FIRST_NORM, 'group.first_norm', layer(p, 'group.first', near.reshape([count * size, 3])));
  const second = layer(p, 'group.second', first);
  const largest = max(second.reshape([count, size, SECOND]), { axes: [1] });
  const both = add(
    layer(p, 'group.own', second).reshape([count, size, THIRD]),
    layer(p, 'group.all', largest).reshape([count, 1, THIRD]),
  );
  const third = normed(THIRD_NORM, 'group.own_norm', both.reshape([count * size, THIRD]));
  const last = layer(p, 'group.last', third);
  return max(last.reshape([count, size, last.shape[1] as number]), { axes: [1] });
}

/** A block of a transformer on x [b, n, width], whose attention is exact or by a few random features. */
function block(p: Parameters, x: Tensor, heads: number, kernel?: KernelSettings): Tensor<'f32'> {
  const [b, n, width] = x.shape as [number, number, number];
  const normed = normalise(p, 'norm1', x);
  const [q, k, v] = (['q', 'k', 'v'] as const).map((name) =>
    layer(p, `attn.${name}`, normed).reshape([b, n, heads, width / heads]),
  ) as [Tensor, Tensor, Tensor];
  const { out } = kernel
    ? kernelAttention.forward({ q, k, v }, kernelAttention.parse({ ...kernel, epsilon: 0 }))
    : attention(q, k, v);
  const attended = add(x, layer(p, 'attn.proj', (out as Tensor).reshape([b, n, width])));
  return add(attended, layer(p, 'mlp.fc2', gelu(layer(p, 'mlp.fc1', normalise(p, 'norm2', attended)))));
}

interface Stack {
  readonly heads: number;
  readonly count: number;
  readonly kernel?: KernelSettings | undefined;
}

/** A stack of blocks, each of which is told the positions anew. */
function blocksOf(p: Parameters, name: string, x: Tensor, positions: Tensor, { heads, count, kernel }: Stack): Tensor {
  let out = x;
  for (let at = 0; at < count; at++) out = block(partOf(p, `${name}.${at}`), add(out, positions), heads, kernel);
  return out;
}

/** What the network is given of clouds. */
export interface CloudBatch {
  /** [b, groups, 3]. */
  readonly centers: Tensor;
  /** [b groups, size, 3]. */
  readonly around: Tensor;
}

/** Features of the groups of clouds: [b, groups, width], each row centred and of unit spread. */
export function pointFeatures(
  p: Parameters,
  { centers, around }: CloudBatch,
  { heads, taken }: PointMaeConfig,
  kernel?: KernelSettings,
): Tensor<'f32'> {
  const [b, groups] = centers.shape as [number, number, number];
  const tokens = tokensOf(p, around, {});
  const x = tokens.reshape([b, groups, tokens.shape[1] as number]);
  const positions = positionOf(p, 'position', centers);
  return layerNorm(blocksOf(p, 'blocks', x, positions, { heads, count: taken, kernel }));
}

/** Clouds of which some groups are masked. */
export interface MaskedBatch {
  /** [b, kept, 3] and [b, masked, 3]. */
  readonly kept: Tensor;
  readonly masked: Tensor;
  /** [b kept, size, 3] and [b masked, size, 3]. */
  readonly given: Tensor;
  readonly wanted: Tensor;
}

/** Masks groups of clouds at random. */
export function maskedBatch(
  runtime: Runtime,
  clouds: readonly Groups[],
  config: PointMaeConfig,
  seed: number,
): MaskedBatch {
  const { groups, size, masked: share } = config;
  const hidden = Math.round(share * groups);
  const orders = clouds.map((_, at) => randomPermutation(groups, seed + 7919 * at));
  const taken = (what: keyof Groups, length: number, from: number, past: number) => {
    const values = new Float32Array(clouds.length * (past - from) * length);
    clouds.forEach((cloud, row) => {
      orders[row]?.subarray(from, past).forEach((group, at) => {
        values.set(cloud[what].subarray(group * length, (group + 1) * length), (row * (past - from) + at) * length);
      });
    });
    return values;
  };
  const [b, kept] = [clouds.length, groups - hidden];
  return {
    kept: runtime.tensor(taken('centers', 3, hidden, groups), [b, kept, 3]),
    masked: runtime.tensor(taken('centers', 3, 0, hidden), [b, hidden, 3]),
    given: runtime.tensor(taken('around', 3 * size, hidden, groups), [b * kept, size, 3]),
    wanted: runtime.tensor(taken('around', 3 * size, 0, hidden), [b * hidden, size, 3]),
  };
}

/** How far the points that it tells of masked groups are from those that are there: the Chamfer distance, the mean over groups. */
export function pointMaeLoss(
  p: Parameters,
  batch: MaskedBatch,
  { heads, blocks, decoderBlocks }: PointMaeConfig,
  control: ModuleControl,
): Tensor<'f32'> {
  const { kept, masked, given, wanted } = batch;
  const [b, visible] = kept.shape as [number, number, number];
  const [hidden, width] = [masked.shape[1] as number, (p.mask_token as Tensor).size];
  const tokens = tokensOf(p, given, control).reshape([b, visible, width]);
  const encoded = normalise(
    p,
    'norm',
    blocksOf(p, 'blocks', tokens, positionOf(p, 'position', kept), { heads, count: blocks }),
  );
  const blank = add((p.mask_token as Tensor).reshape([1, 1, width]), kept.runtime.zeros([b, hidden, width]));
  const all = concat([encoded, blank], 1);
  const places = concat([kept as Tensor<'f32'>, masked as Tensor<'f32'>], 1);
  const positions = positionOf(p, 'decoder_position', places);
  const decoded = normalise(p, 'decoder_norm', blocksOf(p, 'decoder', all, positions, { heads, count: decoderBlocks }));
  const told = layer(
    p,
    'points',
    map((x) => x, decoded.slice(1, visible, visible + hidden)),
  );
  return chamfer(
    told.reshape(wanted.shape),
    map((x, { closer }) => x * closer, wanted, { captured: { closer: CLOSER } }),
  );
}

/** Squared distances of points a [g, s, 3] from the nearest of b [g, s, 3], and back: the means over all points, added up. */
export function chamfer(a: Tensor, b: Tensor): Tensor<'f32'> {
  const square = (x: Tensor) =>
    sum(
      map((x) => x * x, x),
      { axes: [2] },
    );
  const [g, s] = a.shape as [number, number, number];
  const near = map(
    (product, a, b) => 2 * product - a - b,
    matmul(a, b, { transposeB: true }),
    square(a).reshape([g, s, 1]),
    square(b).reshape([g, 1, s]),
  );
  const [there, back] = [mean(max(near, { axes: [2] })), mean(max(near, { axes: [1] }))];
  return map((a, b) => -a - b, there, back) as Tensor<'f32'>;
}
