import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'How far does a token of a picture see through a window that never leaves the picture?',
  sample: { extents: { rows: 8, columns: 8, h: 1, d: 16 }, params: { window: [3, 3] }, inputs: toyQkv },
  presets: [
    {
      name: "the paper's",
      extents: { rows: 24, columns: 24 },
      params: { window: [7, 7] },
      note: 'The window of NAT and DiNAT: 49 keys for each query, at the borders too.',
    },
    {
      name: 'dilated',
      extents: { rows: 24, columns: 24 },
      params: { window: [7, 7], dilation: [3, 3] },
      note: 'Three times as far with as many keys, but only every third token.',
    },
    {
      name: 'as wide as the picture',
      params: { window: [8, 8] },
      note: 'It fails to save anything: this is exact attention.',
    },
  ],
  rivals: ['generalized-neighborhood-attention', 'attention'],
  view: 'mask',
};
