import type { Page } from '../../page';

export const page: Page = {
  question: 'How far does a token of a picture see through a window that never leaves the picture?',
  sample: { extents: { rows: 24, columns: 24, h: 1, d: 64 }, params: { window: [6, 6] } },
  presets: [
    {
      name: "the paper's",
      params: { window: [7, 7] },
      note: 'The window of NAT and DiNAT: 49 keys for each query, at the borders too.',
    },
    {
      name: 'dilated',
      params: { window: [7, 7], dilation: [3, 3] },
      note: 'Three times as far with as many keys, but only every third token.',
    },
    {
      name: 'as wide as the picture',
      params: { window: [24, 24] },
      note: 'It fails to save anything: this is exact attention.',
    },
  ],
  rivals: ['generalized-neighborhood-attention', 'attention'],
  view: 'mask',
};
