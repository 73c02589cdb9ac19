import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Which blocks of the past does a query open, if one token stands for each?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: { block: 8 },
    inputs: toyQkv,
  },
  presets: [
    {
      name: "the paper's",
      extents: { n: 510 },
      params: { block: 50 },
      note: 'Ten blocks of 50 tokens and their landmarks.',
    },
    {
      name: 'two blocks',
      params: { block: 8, topBlocks: 2 },
      note: 'Each query opens the two blocks of the largest landmark scores, and reads no others.',
    },
    {
      name: 'untrained',
      params: { block: 26, topBlocks: 1 },
      note: 'It fails to find what was wanted: a landmark that was not trained says little of a large block.',
    },
  ],
  rivals: ['power-attention', 'attention'],
  view: 'weights',
};
