/**
 * A variational autoencoder of labelled rows from 0 to 1, with a Gaussian of its own as the prior of each class.
 * Source: Kingma and Welling 2013, arXiv 1312.6114.
 */
import type { ModuleParameter } from '../nn';
import { project } from '../nn/projection';
import { gather } from '../ops/gather';
import { relu, sigmoid } from '../ops/map';
import { map } from '../ops/map/map';
import { sum } from '../ops/reduce';
import type { Tensor } from '../tensor/tensor';
import { divergence, drawn, type Gaussian } from './gaussian';

export interface AutoencoderConfig {
  /** Numbers of a row. */
  readonly width: number;
  /** Units of both layers of the encoder, and of the decoder. */
  readonly hidden: number;
  /** Numbers of a latent. */
  readonly latent: number;
  readonly classes: number;
}

type Parameters = Readonly<Record<string, Tensor>>;

/** The standard deviation of the priors' first means: classes are several deviations apart from the start. */
const PRIOR = 1.5;

/** Its parameters: matrices [out, in] and biases of six layers, and mean and logarithm of the variance of each class's prior. */
export function autoencoderParameters(config: AutoencoderConfig): Readonly<Record<string, ModuleParameter>> {
  const { width, hidden, latent, classes } = config;
  const layers: Readonly<Record<string, readonly [out: number, into: number]>> = {
    'encoder.0': [hidden, width],
    'encoder.1': [hidden, hidden],
    'encoder.out': [2 * latent, hidden],
    'decoder.0': [hidden, latent],
    'decoder.1': [hidden, hidden],
    'decoder.out': [width, hidden],
  };
  const parameters: Record<string, ModuleParameter> = {
    'prior.mean': { shape: [classes, latent], initial: { std: PRIOR } },
    'prior.log_variance': { shape: [classes, latent], initial: { value: 0 } },
  };
  for (const [name, [out, into]] of Object.entries(layers)) {
    parameters[`${name}.weight`] = {
      shape: [out, into],
      initial: { std: Math.sqrt(2 / into) / (name.endsWith('out') ? 4 : 1) },
    };
    parameters[`${name}.bias`] = { shape: [out], initial: { value: 0 } };
  }
  return parameters;
}

const layer = (p: Parameters, name: string, x: Tensor) => project(name, x, p, {});

const hiddenOf = (p: Parameters, name: string, x: Tensor) =>
  relu(layer(p, `${name}.1`, relu(layer(p, `${name}.0`, x))));

/** Rows [b, width] -> mean and logarithm of the variance of their latents, [b, latent] each. */
export function encode(p: Parameters, x: Tensor): Gaussian {
  const both = layer(p, 'encoder.out', hiddenOf(p, 'encoder', x));
  const latent = (both.shape[1] as number) / 2;
  return { mean: both.slice(1, 0, latent), logVariance: both.slice(1, latent, 2 * latent) };
}

/** Latents [b, latent] -> logits of rows [b, width]. */
const decode = (p: Parameters, z: Tensor): Tensor<'f32'> => layer(p, 'decoder.out', hiddenOf(p, 'decoder', z));

/** The prior of each label's class. */
const priorOf = (p: Parameters, labels: Tensor): Gaussian => ({
  mean: gather(p['prior.mean'] as Tensor, labels),
  logVariance: gather(p['prior.log_variance'] as Tensor, labels),
});

/** Rows [b, width] of these classes, [b] i32, from latents of their priors; noise [b, latent], of a normal distribution. */
export function generate(p: Parameters, labels: Tensor, noise: Tensor): Tensor<'f32'> {
  return sigmoid(decode(p, drawn(priorOf(p, labels), noise)));
}

export interface LabelledRows {
  /** [b, width], from 0 to 1. */
  readonly x: Tensor;
  /** [b] i32. */
  readonly labels: Tensor;
  /** [b, latent], normal. */
  readonly noise: Tensor;
}

/**
 * The mean over rows of what is lost of each (cross entropy, summed) and `beta` times how far its latent's distribution is from
 * its class's (Kullback and Leibler), and the means of latents.
 */
export function autoencoderLoss(p: Parameters, { x, labels, noise }: LabelledRows, beta: number) {
  const latent = encode(p, x);
  const logits = decode(p, drawn(latent, noise));
  const lost = sum(map((x, logit, { softplus }) => softplus(logit) - x * logit, x, logits));
  const apart = divergence(latent, priorOf(p, labels));
  const loss = map((lost, apart, { beta, b }) => (lost + beta * apart) / b, lost, apart, {
    captured: { beta, b: x.shape[0] as number },
  });
  return { loss, mean: latent.mean };
}
