import type { Page } from '../../page';

/** A power law in both, as the paper has it. */
function inputs({ p = 1 }: Readonly<Record<string, number>>) {
  const power = (exponent: number) => Float32Array.from({ length: p }, (_, i) => (i + 1) ** -exponent);
  return { eigenvalues: power(1.5), coefficients: power(0.75) };
}

/** From 4 to 4096, eight to a factor of 32. */
const COUNTS = Array.from({ length: 16 }, (_, at) => Math.round(4 * 2 ** ((10 * at) / 15)));

export const page: Page = {
  question: 'Do more features and more samples always help, and how far should a model fit its samples?',
  sample: {
    extents: { p: 1000 },
    letters: { p: 'eigenvalues of the kernel' },
    params: { samples: 256, features: 1000, ridge: 0.1, noise: 0.5 },
    inputs,
    positive: ['eigenvalues'],
  },
  presets: [
    {
      name: "the paper's",
      extents: { p: 10_000 },
      params: { samples: 256, features: 1000, ridge: 0.1, noise: 0.5 },
      note: 'Its table has a test error of 0.954.',
    },
    {
      name: 'infinitely wide',
      params: { samples: 256, ridge: 0.1, noise: 0.5 },
      note: 'Kernel regression itself: no number of features errs less at its best ridge.',
    },
    {
      name: 'double descent',
      params: { samples: 256, features: 256, ridge: 0.0001, noise: 0.5 },
      note: 'It fails where features are as many as samples and the ridge is small.',
    },
  ],
  rivals: ['kernel-ridge'],
  view: 'outputs',
  sweep: {
    name: 'test error by samples (across) and features (down)',
    down: { param: 'features', values: COUNTS },
    across: { param: 'samples', values: COUNTS },
  },
  glyph: { output: 'test error by samples (across) and features (down)' },
};
