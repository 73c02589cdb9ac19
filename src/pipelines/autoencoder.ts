/**
 * A variational autoencoder of labelled rows from 0 to 1, with a Gaussian of its own as the prior of each class.
 * Source: Kingma and Welling 2013, arXiv 1312.6114.
 */
import { linear, type ModuleParameter } from '../nn';
import { gather } from '../ops/gather';
import { relu, sigmoid } from '../ops/map';
import { map } from '../ops/map/map';
import { sum } from '../ops/reduce';
import type { Tensor } from '../tensor/tensor';

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

function layer(p: Parameters, name: string, x: Tensor): Tensor<'f32'> {
  return linear(x, p[`${name}.weight`] as Tensor, { bias: p[`${name}.bias`] as Tensor });
}

const hiddenOf = (p: Parameters, name: string, x: Tensor) =>
  relu(layer(p, `${name}.1`, relu(layer(p, `${name}.0`, x))));

/** Rows [b, width] -> mean and logarithm of the variance of their latents, [b, latent] each. */
export function encode(p: Parameters, x: Tensor): Record<'mean' | 'logVariance', Tensor> {
  const both = layer(p, 'encoder.out', hiddenOf(p, 'encoder', x));
  const latent = (both.shape[1] as number) / 2;
  return { mean: both.slice(1, 0, latent), logVariance: both.slice(1, latent, 2 * latent) };
}

/** Latents [b, latent] -> logits of rows [b, width]. */
const decode = (p: Parameters, z: Tensor): Tensor<'f32'> => layer(p, 'decoder.out', hiddenOf(p, 'decoder', z));

const drawn = (mean: Tensor, logVariance: Tensor, noise: Tensor): Tensor =>
  map((mean, log, noise) => mean + Math.exp(0.5 * log) * noise, mean, logVariance, noise);

/** Rows [b, width] of these classes, [b] i32, from latents of their priors; noise [b, latent], of a normal distribution. */
export function generate(p: Parameters, labels: Tensor, noise: Tensor): Tensor<'f32'> {
  const [mean, log] = ['prior.mean', 'prior.log_variance'].map((name) => gather(p[name] as Tensor, labels));
  return sigmoid(decode(p, drawn(mean as Tensor, log as Tensor, noise)));
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
  const { mean, logVariance } = encode(p, x);
  const logits = decode(p, drawn(mean, logVariance, noise));
  const lost = sum(map((x, logit, { softplus }) => softplus(logit) - x * logit, x, logits));
  const apart = sum(
    map(
      (mean, log, m, s) => 0.5 * (s - log + (Math.exp(log) + (mean - m) * (mean - m)) * Math.exp(-s) - 1),
      mean,
      logVariance,
      gather(p['prior.mean'] as Tensor, labels),
      gather(p['prior.log_variance'] as Tensor, labels),
    ),
  );
  const loss = map((lost, apart, { beta, b }) => (lost + beta * apart) / b, lost, apart, {
    captured: { beta, b: x.shape[0] as number },
  });
  return { loss, mean };
}
