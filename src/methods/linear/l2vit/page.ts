import type { Page } from '../../page';

export const page: Page = {
  question: 'What do weights look like that are products of relus, and when are they no mean?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: {} },
  presets: [
    {
      name: "the paper's",
      params: { minimum: 100 },
      note: 'Denominators are at least 100.',
    },
    {
      name: 'few tokens',
      extents: { n: 16, d: 8 },
      params: { minimum: 100 },
      note: 'It fails to average: denominators below the minimum shrink the rows.',
    },
  ],
  rivals: ['dydila', 'neighborhood-attention'],
  view: 'weights',
};
