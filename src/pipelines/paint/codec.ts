/** An autoencoder of scenes, 64 x 64, whose latents are 16 x 16 x 4. */
import type { Described } from '../../nn/module';
import { contiguous } from '../../ops/copy';
import { sigmoid, silu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { pixelShuffle } from '../../ops/pixel-shuffle';
import { sum } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { divergence, drawn, type Gaussian } from '../gaussian';
import { active, convolved, layers, norms, type Weights } from '../layers';

/** Places along an axis of a latent, and its channels. */
export const PLACES = 16;
export const CHANNELS = 4;
const [FINE, WIDE] = [16, 32];
/** Weight of the distance of latents from a standard normal distribution: enough to keep them near. */
const BETA = 0.02;

export const codecParameters: Described = {
  ...layers({
    'encoder.0': [FINE, 1, 3, 3],
    'encoder.1': [WIDE, FINE, 3, 3],
    'encoder.2': [WIDE, WIDE, 3, 3],
    'encoder.last': [2 * CHANNELS, WIDE, 1, 1],
    'decoder.0': [WIDE, CHANNELS, 3, 3],
    'decoder.1': [4 * FINE, WIDE, 3, 3],
    'decoder.2': [FINE, FINE, 3, 3],
    'decoder.last': [4, FINE, 3, 3],
  }),
  ...norms({ 'encoder.norm': WIDE, 'decoder.norm': WIDE, 'decoder.norm2': FINE }),
  'latent.mean': { shape: [CHANNELS], initial: { value: 0 }, isBuffer: true },
  'latent.std': { shape: [CHANNELS], initial: { value: 1 }, isBuffer: true },
};

/** Normal noise as of latents, [count, 16, 16, 4]. */
export const noiseOf = (runtime: Runtime, count: number, seed: number): Tensor<'f32'> =>
  runtime.tensor(normal(count * PLACES ** 2 * CHANNELS, seed), [count, PLACES, PLACES, CHANNELS]);

/** Pictures [b, 64, 64, 1] -> latents [b, 16, 16, 4], of mean 0 and standard deviation 1 over many pictures. */
export const latentsOf = (p: Weights, x: Tensor): Tensor<'f32'> =>
  map(
    (z, mean, std) => (z - mean) / std,
    encodeScenes(p, x).mean,
    p['latent.mean']!,
    p['latent.std']!,
  ) as Tensor<'f32'>;

/** The mean and standard deviation of each channel of a codec's latents [b, 16, 16, 4]. */
export async function latentScale(p: Weights, x: Tensor): Promise<Record<'latent.mean' | 'latent.std', Float32Array>> {
  const scope = x.runtime.scope(() => contiguous(encodeScenes(p, x).mean));
  const values = (await scope.read()) as Float32Array;
  scope.dispose();
  const count = values.length / CHANNELS;
  const mean = new Float32Array(CHANNELS);
  const square = new Float32Array(CHANNELS);
  for (const [at, value] of values.entries()) {
    mean[at % CHANNELS]! += value / count;
    square[at % CHANNELS]! += value ** 2 / count;
  }
  return { 'latent.mean': mean, 'latent.std': square.map((each, c) => Math.sqrt(each - mean[c]! ** 2)) };
}

/** Pictures [b, 64, 64, 1] -> means and logarithms of variances of latents [b, 16, 16, 4]. */
function encodeScenes(p: Weights, x: Tensor): Gaussian {
  const h = silu(convolved(p, 'encoder.1', silu(convolved(p, 'encoder.0', x, 2)), 2));
  const both = convolved(p, 'encoder.last', active(p, 'encoder.norm', convolved(p, 'encoder.2', h)));
  return { mean: both.slice(3, 0, CHANNELS), logVariance: both.slice(3, CHANNELS, 2 * CHANNELS) };
}

/** Latents [b, 16, 16, 4] -> logits of pixels [b, 64, 64, 1]. */
function decoded(p: Weights, z: Tensor): Tensor<'f32'> {
  const h = active(p, 'decoder.norm', convolved(p, 'decoder.0', z));
  const fine = pixelShuffle(convolved(p, 'decoder.1', h), 2);
  return pixelShuffle(convolved(p, 'decoder.last', active(p, 'decoder.norm2', convolved(p, 'decoder.2', fine))), 2);
}

/** Latents as `latentsOf` gives them, [b, 16, 16, 4] -> pictures [b, 64, 64, 1], from 0 to 1. */
export const decodeScenes = (p: Weights, z: Tensor): Tensor<'f32'> =>
  sigmoid(
    decoded(
      p,
      map((z, mean, std) => z * std + mean, z, p['latent.mean']!, p['latent.std']!),
    ),
  );

/** The cross entropy of pixels, and a little of how far latents are from normal ones; the mean over pictures. */
export function codecLoss(p: Weights, { x, noise }: Readonly<Record<'x' | 'noise', Tensor>>): Tensor<'f32'> {
  const latent = encodeScenes(p, x);
  const logits = decoded(p, drawn(latent, noise));
  const lost = sum(map((x, logit, { softplus }) => softplus(logit) - x * logit, x, logits));
  const zero = x.runtime.tensor([0], []);
  const apart = divergence(latent, { mean: zero, logVariance: zero });
  return map((lost, apart, { beta, count }) => (lost + beta * apart) / count, lost, apart, {
    captured: { beta: BETA, count: x.size },
  }) as Tensor<'f32'>;
}
