/**
 * Results that the authors stored, of eigenvalues and squared coefficients i^-1.5, 10,000 of them, and noise 0.5: as they are
 * written, since the last digit tells how exact they are.
 */
export interface Row {
  readonly samples: string;
  readonly features: string;
  readonly ridge: string;
  readonly test: string;
  readonly train: string;
  readonly kappa: string;
  readonly gamma: string;
  /** Means and standard deviations of 45 trials. */
  readonly trials?: Readonly<Record<'test' | 'train', readonly [mean: number, deviation: number]>>;
}

type Trials = readonly [test: number, deviation: number, train: number, deviation: number];

const row = (line: string, trials?: Trials): Row => {
  const [samples, features, ridge, test, train, kappa, gamma] = line.split(' ') as [
    ...[string, string, string, string, string, string, string],
  ];
  return {
    ...{ samples, features, ridge, test, train, kappa, gamma },
    ...(trials && { trials: { test: [trials[0], trials[1]], train: [trials[2], trials[3]] } }),
  };
};

export const ROWS: readonly Row[] = [
  row('256 15 0.00464159 1.48219 1.31364 1.9259e-5 0.059721', [1.475, 0.125, 1.324, 0.167]),
  row('256 255 0.00464159 2.90555 0.05394 1.3307e-4 1.0016e-3'),
  row('256 255 0.1 1.13413 0.22370 8.7954e-4 1.9902e-3'),
  row('256 1000 0.00464159 1.19617 0.00100 6.2624e-4 8.3342e-4', [1.208, 0.087, 0.001, 0.0002]),
  row('256 1000 0.1 0.95435 0.09939 1.2105e-3 1.4644e-3', [0.958, 0.055, 0.1009, 0.0116]),
  row('256 1000 2.15443 0.90183 0.60061 0.010312 0.010822', [0.906, 0.041, 0.602, 0.054]),
  row('256 10000 0.1 0.89087 0.07568 1.3402e-3 1.3650e-3', [0.896, 0.046, 0.0766, 0.0086]),
  row('15 256 0.1 1.66492 0.01695 0.066081 0.069756', [1.66, 0.289, 0.0186, 0.0088]),
  row('1000 256 0.1 0.87715 0.52991 1.2866e-4 9.9022e-4', [0.888, 0.041, 0.534, 0.029]),
  row('25 251 2 1.46742 0.61230 0.12385 0.12837'),
  row('251 251 0.00390625 3.13593 0.04829 1.2541e-4 1.0107e-3'),
  row('2511 2511 0.125 0.69544 0.30337 7.5372e-5 1.1412e-4'),
];
