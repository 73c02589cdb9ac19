import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'What keeps linear attention stable when its denominator is taken away?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: { attention: 'norm', causal: true },
    // As in its layers, queries and keys have been through 1 + ELU.
    inputs: toyQkv,
  },
  presets: [
    {
      name: "the paper's late layers",
      params: { attention: 'norm', causal: true },
      note: 'A norm takes the place of the denominator.',
    },
    {
      name: 'its early layers',
      params: { attention: 'diag', block: 8, causal: true },
      note: 'Exact within blocks, of 64 tokens in the paper and 8 here.',
    },
    {
      name: 'blocks alone',
      params: { attention: 'diag', block: 2, causal: true },
      note: 'It fails beyond a block: a token never sees another one.',
    },
  ],
  rivals: ['lightning-attention', 'l2vit'],
  view: 'weights',
};
