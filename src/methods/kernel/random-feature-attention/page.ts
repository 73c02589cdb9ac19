import type { Page } from '../../page';

export const page: Page = {
  question: 'What can one layer of attention learn while its queries and keys stay random?',
  sample: { extents: { b: 4, n: 16, d: 8, r: 16, w: 9 }, params: {} },
  presets: [
    {
      name: "the paper's",
      params: { activation: 'relu' },
      note: 'Scores below 0 count as 0, and the sum is divided by the keys.',
    },
    {
      name: 'biased',
      params: { biased: true },
      note: 'Heads begin from the product of query and key, and differ less.',
    },
    {
      name: 'one key',
      extents: { n: 1 },
      params: { activation: 'softmax' },
      note: 'It fails to tell heads apart: a softmax of one key is 1, so that all features are alike.',
    },
  ],
  rivals: ['kernel-ridge', 'snnk'],
  view: 'outputs',
};
