import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Can each head keep a share of the context, so that together they hold all of it?',
  sample: {
    extents: { n: 64, h: 4, d: 16 },
    params: { block: 2, localBlocks: 3, verticalStride: 4 },
    head: 1,
    inputs: toyQkv,
  },
  presets: [
    {
      name: "the paper's",
      extents: { n: 4096, h: 8 },
      params: { block: 64, localBlocks: 16, verticalStride: 8 },
      note: 'Blocks and stride of Phi-3-small; sequences up to 1024 tokens are dense.',
    },
    {
      name: 'fewer heads than the stride',
      extents: { n: 1024, h: 2 },
      params: { block: 32, localBlocks: 4, verticalStride: 8 },
      note: 'It fails: two heads hold two of eight shares, and no head sees the rest.',
    },
  ],
  rivals: ['power-attention', 'attention'],
  view: 'mask',
};
