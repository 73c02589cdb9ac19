import type { Page } from '../../page';

export const page: Page = {
  question: 'Can each head keep a share of the context, so that together they hold all of it?',
  sample: { extents: { n: 1024, h: 8, d: 64 }, params: { block: 32, localBlocks: 4, verticalStride: 8 } },
  presets: [
    {
      name: "the paper's",
      extents: { n: 4096 },
      params: { block: 64, localBlocks: 16, verticalStride: 8 },
      note: 'Blocks and stride of Phi-3-small; sequences up to 1024 tokens are dense.',
    },
    {
      name: 'fewer heads than the stride',
      extents: { h: 2 },
      params: { block: 32, localBlocks: 4, verticalStride: 8 },
      note: 'It fails: two heads hold two of eight shares, and no head sees the rest.',
    },
  ],
  rivals: ['power-attention', 'attention'],
  view: 'mask',
};
