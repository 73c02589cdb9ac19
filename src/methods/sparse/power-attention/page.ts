import type { Page } from '../../page';

export const page: Page = {
  question: 'Through how many layers does the first token reach the last one?',
  sample: { extents: { n: 1024, h: 1, d: 64 }, params: { block: 8, window: 5 } },
  presets: [
    {
      name: "the paper's",
      extents: { n: 8192 },
      params: { block: 256, window: 5 },
      note: 'Blocks of 256 tokens: 32 of them here, 128 at 32K.',
    },
    {
      name: 'token by token',
      params: { block: 1, window: 2 },
      note: 'Distances between tokens: a dozen keys a query reach everything through ten layers.',
    },
    {
      name: 'too short',
      params: { block: 256, window: 5 },
      note: 'It fails to save anything: up to five blocks are dense.',
    },
  ],
  rivals: ['s2-attention', 'stochastic-attention', 'attention'],
  view: 'mask',
};
