/** The eigenframework by its two equations, solved one within the other. */
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { tensor, type Wide } from '../../reference';

interface Params {
  readonly samples: number;
  readonly features: number | null;
  readonly ridge: number;
  readonly noise: number;
}

/**
 * kappa and gamma with sum L + ridge / kappa = n and sum L + k kappa / gamma = k, L = lambda / (lambda + gamma), by nested bisection;
 * without a limit of features kappa is gamma.
 */
export function reference(
  { eigenvalues, coefficients }: Readonly<Record<'eigenvalues' | 'coefficients', HostTensor>>,
  { samples: n, features: k, ridge, noise }: Params,
): Record<string, Wide> {
  const [lambda, v] = [toFloat64(eigenvalues), toFloat64(coefficients)];
  const shares = (gamma: number) => lambda.map((each) => (each === 0 ? 0 : each / (each + gamma)));
  const sumOf = (x: Float64Array) => x.reduce((sum, each) => sum + each, 0);
  const total = (gamma: number) => sumOf(shares(gamma));
  const gammaFor = (kappa: number) => (k === null ? kappa : root((gamma) => k - total(gamma) - (k * kappa) / gamma));
  const kappa = root((kappa) => n - total(gammaFor(kappa)) - ridge / kappa);
  const gamma = gammaFor(kappa);
  const l = shares(gamma);
  const [z, q] = [sumOf(l), sumOf(l.map((each) => each ** 2))];
  const waste = k === null ? q / n : (q * (k - 2 * z) + z ** 2) / (n * (k - q));
  const bias = sumOf(
    l.map((each, at) => {
      const slope = (kappa * each) / (lambda[at]! + gamma);
      const kept = k === null ? (1 - each) ** 2 : 1 - each - (slope * k) / (k - q);
      return kept * v[at]! ** 2;
    }),
  );
  const test = (bias + noise) / (1 - waste);
  const train = (ridge > 0 ? (ridge / (n * kappa)) ** 2 : (1 - z / n) ** 2) * test;
  return {
    out: tensor(Float64Array.of(test, train), [2]),
    kappa: tensor(Float64Array.of(kappa), [1]),
    gamma: tensor(Float64Array.of(gamma), [1]),
  };
}

/** Where an increasing function of a positive number crosses 0. */
function root(f: (x: number) => number): number {
  let [low, high] = [-100, 100];
  for (let step = 0; step < 100; step++) {
    const middle = (low + high) / 2;
    if (f(Math.exp(middle)) < 0) low = middle;
    else high = middle;
  }
  return Math.exp((low + high) / 2);
}
