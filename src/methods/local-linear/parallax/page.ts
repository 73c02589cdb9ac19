import type { Page } from '../../page';

export const page: Page = {
  question: 'Can a learned probe take the place of a solver at every query?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: { causal: true } },
  presets: [
    {
      name: "the paper's",
      params: { causal: true },
      note: 'Softmax less the covariance along the probe: some weights are negative.',
    },
    {
      name: 'a window',
      params: { window: 256 },
      note: 'Keys further back are dropped.',
    },
    {
      name: 'few keys',
      params: { window: 2 },
      note: 'It fails to add anything: the covariance of two keys says little.',
    },
  ],
  rivals: ['local-linear-attention', 'attention'],
  view: 'weights',
};
