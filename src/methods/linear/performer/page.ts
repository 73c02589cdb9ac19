import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'How close do random features come to the softmax?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: { features: 64 },
    inputs: (extents) => toyQkv(extents, { size: 0.6 }),
  },
  presets: [
    {
      name: "the paper's",
      extents: { d: 64 },
      params: { features: 256 },
      note: 'As many orthogonal directions as d ln d, about 256 for heads of 64.',
    },
    {
      name: 'causal',
      params: { causal: true },
      note: 'Sums up to each query; the state replaces the cache.',
    },
    {
      name: 'few features',
      params: { features: 8 },
      note: 'It fails: at unit variance a few keys that fit the directions take all the weight.',
    },
  ],
  rivals: ['kernel-attention', 'attention'],
  view: 'weights',
};
