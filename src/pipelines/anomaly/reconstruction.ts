/**
 * A network that tells the features of a cloud's places from noisy ones: where it errs, the cloud is not as those it learned from.
 * Its attention reads an advisor, a memory that each call corrects by the delta rule; or it has none, or is exact.
 * Source: Lu et al. 2025, arXiv 2508.01311, equations 8 to 11, and the authors' code; sizes are smaller here.
 */
import { kernelAttention } from '../../methods/linear/kernel-attention';
import { type ModuleParameter, type Parameters, partOf, type TrainingPass } from '../../nn';
import { project, projection } from '../../nn/projection';
import { attention } from '../../ops/attention';
import { concat } from '../../ops/copy';
import { add, gelu, relu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { layerNorm } from '../../ops/norm';
import { mean, sum } from '../../ops/reduce';
import { stopGradient } from '../../tape';
import type { Tensor } from '../../tensor/tensor';

/** What tokens attend to: the advisor, the tokens of their cloud by random features or by a softmax. */
const ATTENTIONS = ['advisor', 'kernel', 'softmax'] as const;

export interface ReconstructionConfig {
  readonly attention: (typeof ATTENTIONS)[number];
  /** Numbers of a feature. */
  readonly width: number;
  /** Numbers of a token within. */
  readonly hidden: number;
  /** Layers of the encoder, and as many of the decoder. */
  readonly layers: number;
  /** Random features of a query or key. */
  readonly features: number;
  /** How the advisor learns: 1 + alpha times the values, and a call corrects this share of its error. */
  readonly alpha: number;
  readonly beta: number;
}

/** How a call takes the advisor: corrected by its own tokens, which is kept if it trains, or as it is. */
export interface AdvisorUse {
  readonly isFrozen: boolean;
  readonly training?: TrainingPass | undefined;
}

const BIAS = { bias: true };
/** Frequencies of the waves that tell positions finely: coordinates alone leave a small network with blurred ones. */
const WAVES = [1.5, 3, 6];
/** The seed of the random directions, which queries and keys share. */
const SEED = 42;

/** Attentions of the network by name, encoder and decoder. */
const attentionsOf = (layers: number): string[] =>
  Array.from({ length: layers }, (_, at) => [
    `encoder.${at}.attn`,
    `decoder.${at}.memory`,
    `decoder.${at}.attn`,
  ]).flat();

export function reconstructionParameters(config: ReconstructionConfig): Record<string, ModuleParameter> {
  const { attention, width, hidden, layers, features } = config;
  const parameters: Record<string, ModuleParameter> = {};
  const linear = (name: string, out: number, into: number) => {
    Object.assign(parameters, projection(name, out, into, BIAS));
    parameters[`${name}.weight`] = { shape: [out, into], initial: { std: Math.sqrt(1 / into) } };
  };
  const norm = (name: string) => {
    parameters[`${name}.weight`] = { shape: [hidden], initial: { value: 1 } };
    parameters[`${name}.bias`] = { shape: [hidden], initial: { value: 0 } };
  };
  linear('input', hidden, width);
  linear('position.0', hidden, 3 + 6 * WAVES.length);
  linear('position.1', hidden, hidden);
  for (const name of attentionsOf(layers)) {
    linear(`${name}.q`, hidden, hidden);
    linear(`${name}.k`, hidden, hidden);
    norm(`${name}.norm`);
    if (attention === 'advisor')
      parameters[`${name}.advisor`] = { shape: [1, 1, features, hidden], initial: { value: 0 }, isBuffer: true };
  }
  for (let at = 0; at < layers; at++)
    for (const part of ['encoder', 'decoder']) {
      linear(`${part}.${at}.fc1`, 2 * hidden, hidden);
      linear(`${part}.${at}.fc2`, hidden, 2 * hidden);
      norm(`${part}.${at}.norm`);
    }
  norm('norm');
  linear('output', width, hidden);
  return parameters;
}

const layer = (p: Parameters, name: string, x: Tensor) => project(name, x, p, {});
const normalise = (p: Parameters, name: string, x: Tensor) =>
  layerNorm(x, { gain: p[`${name}.weight`] as Tensor, bias: p[`${name}.bias`] as Tensor });

/** Features [b, n, width] at centers [b, n, 3] -> what they should be, [b, n, width]. */
export function reconstruct(
  p: Parameters,
  config: ReconstructionConfig,
  { features, centers }: { readonly features: Tensor; readonly centers: Tensor },
  use: AdvisorUse,
): Tensor<'f32'> {
  const positions = layer(p, 'position.1', gelu(layer(p, 'position.0', withWaves(centers))));
  const attend = (name: string, q: Tensor, k: Tensor, v: Tensor, to: Tensor) =>
    normalise(p, `${name}.norm`, add(to, attended(partOf(p, name), config, { q, k, v }, use)));
  const feed = (name: string, x: Tensor) =>
    normalise(p, `${name}.norm`, add(x, layer(p, `${name}.fc2`, relu(layer(p, `${name}.fc1`, x)))));
  let memory: Tensor = layer(p, 'input', features);
  for (let at = 0; at < config.layers; at++) {
    const placed = add(memory, positions);
    memory = feed(`encoder.${at}`, attend(`encoder.${at}.attn`, placed, placed, memory, memory));
  }
  let out = memory;
  for (let at = 0; at < config.layers; at++) {
    const asked = attend(`decoder.${at}.memory`, positions, add(memory, positions), memory, positions);
    const told = attend(`decoder.${at}.attn`, add(asked, positions), add(out, positions), out, asked);
    out = feed(`decoder.${at}`, told);
  }
  return layer(p, 'output', normalise(p, 'norm', out));
}

/** Coordinates, and their sines and cosines: [b, n, 3] -> [b, n, 3 + 6 waves]. */
const withWaves = (centers: Tensor): Tensor<'f32'> => {
  const waves = WAVES.flatMap((frequency) => {
    const captured = { frequency };
    return [
      map((x, { frequency }) => Math.sin(frequency * x), centers, { captured }),
      map((x, { frequency }) => Math.cos(frequency * x), centers, { captured }),
    ];
  });
  return concat([centers, ...waves] as Tensor<'f32'>[], 2);
};

/** Attention with one head, whose values are not projected. */
function attended(
  p: Parameters,
  { attention: kind, features, alpha, beta }: ReconstructionConfig,
  { q, k, v }: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  { isFrozen, training }: AdvisorUse,
): Tensor {
  const [b, n, hidden] = q.shape as [number, number, number];
  const heads = (x: Tensor) => x.reshape([b, x.shape[1] as number, 1, hidden]);
  const given = { q: heads(layer(p, 'q', q)), k: heads(layer(p, 'k', k)), v: heads(v) };
  const back = (x: Tensor) => x.reshape([b, n, hidden]);
  if (kind === 'softmax') return back(attention(given.q, given.k, given.v).out);
  const common = { features, seed: SEED };
  if (kind === 'kernel')
    return back(kernelAttention.forward(given, kernelAttention.parse({ ...common, epsilon: 0 })).out as Tensor);
  const kept = p.advisor as Tensor;
  const advisor = add(kept, kept.runtime.zeros([b, 1, features, hidden]));
  const update = isFrozen ? 'frozen' : 'mean';
  const params = kernelAttention.parse({ ...common, part: 'advisor', norm: 'unit', update, alpha, beta });
  const found = kernelAttention.forward({ ...given, advisor }, params);
  training?.update(kept, mean(stopGradient(found.advisor as Tensor), { axes: [0], keepDims: true }));
  return back(found.out as Tensor);
}

/** How far what is told is from the features, for each place: [b, n]. */
export const errorsOf = (told: Tensor, features: Tensor): Tensor<'f32'> => {
  const squares = sum(
    map((a, b) => (a - b) * (a - b), told, features),
    { axes: [2] },
  );
  return map((x) => Math.sqrt(x + 1e-12), squares) as Tensor<'f32'>;
};

/** Features with normal noise of their own size. */
export const noisy = (features: Tensor, noise: Tensor, size: number): Tensor =>
  map((x, noise, { size }) => x + size * noise, features, noise, { captured: { size } });
