import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Through how many layers does the first token reach the last one?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { block: 1, window: 2 }, inputs: toyQkv },
  presets: [
    {
      name: "the paper's",
      extents: { n: 8192 },
      params: { block: 256, window: 5 },
      note: 'Blocks of 256 tokens: 32 of them here, 128 at 32K.',
    },
    {
      name: 'its mask, smaller',
      extents: { n: 1024 },
      params: { block: 8, window: 5 },
      note: 'Blocks of 8 tokens: the 128 blocks that the paper has at 32K tokens.',
    },
    {
      name: 'too short',
      extents: { n: 1024 },
      params: { block: 256, window: 5 },
      note: 'It fails to save anything: up to five blocks are dense.',
    },
  ],
  rivals: ['s2-attention', 'stochastic-attention', 'attention'],
  view: 'mask',
};
