import type { Page } from '../../page';

export const page: Page = {
  question: 'What keeps linear attention stable when its denominator is taken away?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: { attention: 'norm', causal: true } },
  presets: [
    {
      name: "the paper's late layers",
      params: { attention: 'norm', causal: true },
      note: 'A norm takes the place of the denominator.',
    },
    {
      name: 'its early layers',
      params: { attention: 'diag', block: 64, causal: true },
      note: 'Exact within blocks of 64 tokens.',
    },
    {
      name: 'blocks alone',
      params: { attention: 'diag', block: 8, causal: true },
      note: 'It fails beyond a block: a token never sees another one.',
    },
  ],
  rivals: ['lightning-attention', 'l2vit'],
  view: 'weights',
};
