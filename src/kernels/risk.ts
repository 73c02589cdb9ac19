/**
 * The eigenframework of random-feature ridge regression: its errors from the spectrum of a kernel, in float64.
 * Source: Simon et al. 2023, arXiv 2311.14646, equations as in the authors' code; optimal fitting ratios are derived here.
 */
import { checkArray, checkKnown, show } from '../check';
import { ParameterError } from '../errors';

export interface RiskOptions {
  /** n of training, above 0; need not be whole. */
  readonly samples: number;
  /** Random features, above 0; null, the default, for infinitely many: the kernel itself. */
  readonly features?: number | null | undefined;
  /** Added to the kernel matrix as it is; default 0. */
  readonly ridge?: number | undefined;
  /** The variance of the noise on targets; default 0. */
  readonly noise?: number | undefined;
}

export interface Risk {
  /** Mean squared errors on new samples, noise included, and on those of training. */
  readonly test: number;
  readonly train: number;
  /** What eigenvalues are compared with in a model of n samples, and of k features. */
  readonly kappa: number;
  readonly gamma: number;
}

const NAMES = ['samples', 'features', 'ridge', 'noise'];
const STEPS = 64;

/**
 * The errors of ridge regression on random features of a kernel, from its eigenvalues and the coefficients of the target in
 * its eigenfunctions.
 *
 * @throws {ParameterError} options that are unknown or out of range, lists of different lengths, no eigenvalue above 0
 */
export function featureRisk(
  eigenvalues: ArrayLike<number>,
  coefficients: ArrayLike<number>,
  options: RiskOptions,
): Risk {
  return riskOf(eigenvalues, coefficients, checked(eigenvalues, coefficients, options));
}

/**
 * The ridge with which the test error is least, and the errors with it: with it more samples and more features never hurt. 0 is
 * tried too, and is best where targets must be fitted.
 *
 * @throws {ParameterError} as for `featureRisk`
 */
export function bestRidge(
  eigenvalues: ArrayLike<number>,
  coefficients: ArrayLike<number>,
  options: Omit<RiskOptions, 'ridge'>,
): Risk & { readonly ridge: number } {
  const settings = checked(eigenvalues, coefficients, options);
  const at = (ridge: number) => ({ ridge, ...riskOf(eigenvalues, coefficients, { ...settings, ridge }) });
  const sum = Array.from(eigenvalues).reduce((total, each) => total + each, 0);
  const logs = Array.from({ length: GRID }, (_, i) => Math.log(sum) + LOWEST + ((HIGHEST - LOWEST) * i) / (GRID - 1));
  const tried = logs.map((log) => at(Math.exp(log)).test);
  const least = tried.indexOf(Math.min(...tried));
  // Golden sections between its neighbours.
  let [low, high] = [logs[Math.max(least - 1, 0)]!, logs[Math.min(least + 1, GRID - 1)]!];
  for (let step = 0; step < SECTIONS; step++) {
    const [a, b] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    if (at(Math.exp(a)).test < at(Math.exp(b)).test) high = b;
    else low = a;
  }
  const [found, none] = [at(Math.exp((low + high) / 2)), at(0)];
  return none.test <= found.test ? none : found;
}

/** Ridges tried, over the sum of the eigenvalues: logarithms. */
const [LOWEST, HIGHEST, GRID, SECTIONS] = [-30, 12, 43, 40];
const GOLDEN = (Math.sqrt(5) - 1) / 2;

export interface PowerLaw {
  /** Eigenvalues are i^-decay, above 1. */
  readonly decay: number;
  /** Squared coefficients are i^-target, from 1 to 2 decay + 1. */
  readonly target: number;
  /** The variance of the noise over the test error without ridge and noise; default 0. */
  readonly noise?: number | undefined;
}

/**
 * The test error of kernel regression under power laws, for many samples, by the fitting ratio: the training error over the test
 * error, from 0 to 1.
 *
 * @throws {ParameterError} options that are unknown or out of range
 */
export function powerLawRisk(law: PowerLaw, at: Readonly<Record<'samples' | 'ratio', number>>): number {
  checkKnown('at', at, ['samples', 'ratio'], (name) => `the risk of a power law has no '${name}'`);
  const { samples, ratio } = at;
  const { a, b, noise } = checkedLaw(law);
  checkPositive('samples', samples);
  if (!(Number.isFinite(ratio) && ratio >= 0 && ratio < 1))
    throw new ParameterError(`ratio must be a number from 0 to below 1, got ${show(ratio)}`);
  const root = Math.sqrt(ratio);
  const scale = (Math.PI ** b * (a - b + 1) * Math.sin(Math.PI / a)) / Math.sin((Math.PI * (b - 1)) / a);
  const bias = (1 - root + a * noise * (1 - root) ** b) / (1 + (a - 1) * root);
  return scale * bias * (a * Math.sin(Math.PI / a) * (1 - root)) ** -b * samples ** (1 - b);
}

/**
 * The fitting ratio with which that error is least: 0, so that fitting all samples exactly is best, as long as the noise is at
 * most (target - decay) / (decay (decay - 1)).
 *
 * @throws {ParameterError} options that are unknown or out of range
 */
export function bestFittingRatio(law: PowerLaw): number {
  const { a, b, noise } = checkedLaw(law);
  // The derivative of the error vanishes with this, which falls from its value at 0.
  const slope = (r: number) => a - b - (a - 1) * b * r + a * (a - 1) * (1 - r) ** b * noise;
  if (slope(0) <= 0) return 0;
  let [low, high] = [0, 1];
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2;
    if (slope(middle) > 0) low = middle;
    else high = middle;
  }
  return low ** 2;
}

function checkedLaw(law: PowerLaw) {
  checkKnown('law', law, ['decay', 'target', 'noise'], (name) => `a power law has no '${name}'`);
  const { decay: a, target: b, noise = 0 } = law;
  if (!(Number.isFinite(a) && a > 1)) throw new ParameterError(`decay must be a finite number > 1, got ${show(a)}`);
  if (!(Number.isFinite(b) && b > 1 && b < 2 * a + 1))
    throw new ParameterError(`target must be a number between 1 and 2 decay + 1 = ${2 * a + 1}, got ${show(b)}`);
  checkNotNegative('noise', noise);
  return { a, b, noise };
}

function checkPositive(name: string, value: unknown): void {
  if (!(Number.isFinite(value) && (value as number) > 0))
    throw new ParameterError(`${name} must be a finite number > 0, got ${show(value)}`);
}

function checkNotNegative(name: string, value: unknown): void {
  if (!(Number.isFinite(value) && (value as number) >= 0))
    throw new ParameterError(`${name} must be a finite number >= 0, got ${show(value)}`);
}

function checked(eigenvalues: ArrayLike<number>, coefficients: ArrayLike<number>, options: RiskOptions) {
  checkKnown('options', options, NAMES, (name) => `a risk has no option '${name}'`);
  const { samples, features = null, ridge = 0, noise = 0 } = options;
  checkPositive('samples', samples);
  if (features !== null) checkPositive('features', features);
  checkNotNegative('ridge', ridge);
  checkNotNegative('noise', noise);
  checkNumbersOf('eigenvalues', eigenvalues, 0);
  checkNumbersOf('coefficients', coefficients);
  if (eigenvalues.length !== coefficients.length)
    throw new ParameterError(
      `eigenvalues and coefficients must be as many, got ${eigenvalues.length} and ${coefficients.length}`,
    );
  return { samples, features, ridge, noise };
}

/** Numbers that are finite, and at least `least`. */
function checkNumbersOf(name: string, values: ArrayLike<number>, least = -Infinity): void {
  if (!ArrayBuffer.isView(values)) checkArray(name, values);
  for (let at = 0; at < values.length; at++)
    if (!(Number.isFinite(values[at]) && (values[at] as number) >= least))
      throw new ParameterError(
        `${name} must be finite numbers${least === 0 ? ' >= 0' : ''}, got ${show(values[at])} at element ${at}`,
      );
  if (least === 0 && !Array.from(values).some((value) => value > 0))
    throw new ParameterError(`${name} must have one above 0`);
}

function riskOf(
  eigenvalues: ArrayLike<number>,
  coefficients: ArrayLike<number>,
  { samples: n, features, ridge, noise }: ReturnType<typeof checked>,
): Risk {
  const k = features ?? Infinity;
  const gamma = gammaOf(eigenvalues, n, k, ridge);
  const p = eigenvalues.length;
  const shareOf = (at: number) => learned(eigenvalues[at] as number, gamma);
  let [z, q] = [0, 0];
  for (let at = 0; at < p; at++) {
    z += shareOf(at);
    q += shareOf(at) ** 2;
  }
  const isLimited = Number.isFinite(k);
  const kappa = isLimited ? Math.max(0, gamma * (1 - z / k)) : gamma;
  const waste = isLimited ? (q * (k - 2 * z) + z * z) / (n * (k - q)) : q / n;
  let bias = 0;
  for (let at = 0; at < p; at++) {
    const share = shareOf(at);
    // kappa L / (lambda + gamma) k / (k - q); without a limit of features it leaves (1 - L)^2.
    const rest = share / ((eigenvalues[at] as number) + gamma || 1);
    const kept = 1 - share - kappa * rest * (isLimited ? k / (k - q) : 1);
    bias += kept * (coefficients[at] as number) ** 2;
  }
  // As many features as samples, without a ridge: there is no bound.
  const test = waste < 1 ? (bias + noise) / (1 - waste) : Infinity;
  const left = ridge > 0 ? ridge / (n * kappa) : Math.max(0, 1 - z / n);
  return { test, train: left === 0 ? 0 : left ** 2 * test, kappa, gamma };
}

const learned = (eigenvalue: number, gamma: number): number =>
  eigenvalue === 0 ? 0 : eigenvalue / (eigenvalue + gamma);

/** The root of (n - S)(k - S) gamma / k = ridge on the branch S < min(n, k), S = sum L; 0 where the spectrum is too short for one. */
function gammaOf(eigenvalues: ArrayLike<number>, n: number, k: number, ridge: number): number {
  const excess = (gamma: number) => {
    let s = 0;
    for (let at = 0; at < eigenvalues.length; at++) s += learned(eigenvalues[at] as number, gamma);
    if (s >= Math.min(n, k)) return -1;
    return (n - s) * (Number.isFinite(k) ? (k - s) / k : 1) * gamma - ridge;
  };
  let [low, high] = [-100, 100];
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2;
    if (excess(Math.exp(middle)) < 0) low = middle;
    else high = middle;
  }
  return low === -100 || high < -99 ? 0 : Math.exp((low + high) / 2);
}
