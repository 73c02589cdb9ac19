/** The eigenframework of random-feature ridge regression, in float64. */

export interface RiskParams {
  readonly samples: number;
  /** Null for infinitely many. */
  readonly features: number | null;
  readonly ridge: number;
  readonly noise: number;
}

export interface Risk {
  /** Mean squared errors on new samples, noise included, and on those of training. */
  readonly test: number;
  readonly train: number;
  readonly kappa: number;
  readonly gamma: number;
}

const STEPS = 200;

export function riskOf(
  eigenvalues: ArrayLike<number>,
  coefficients: ArrayLike<number>,
  { samples: n, features, ridge, noise }: RiskParams,
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
  const test = (bias + noise) / (1 - waste);
  const left = ridge > 0 ? ridge / (n * kappa) : Math.max(0, 1 - z / n);
  return { test, train: left ** 2 * test, kappa, gamma };
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
