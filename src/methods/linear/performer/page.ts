import type { Page } from '../../page';

export const page: Page = {
  question: 'How close do random features come to the softmax?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: {} },
  presets: [
    {
      name: "the paper's",
      params: { features: 256 },
      note: 'As many orthogonal directions as d ln d, about 256.',
    },
    {
      name: 'causal',
      params: { causal: true },
      note: 'Sums up to each query; the state replaces the cache.',
    },
    {
      name: 'few features',
      params: { features: 16 },
      note: 'It fails: at unit variance a few keys that fit the directions take all the weight.',
    },
  ],
  rivals: ['kernel-attention', 'attention'],
  view: 'weights',
};
