import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'How far may neighbours share a window before the picture falls apart into blocks?',
  sample: {
    extents: { rows: 8, columns: 8, h: 1, d: 16 },
    params: { window: [4, 4], stride: [2, 4] },
    inputs: toyQkv,
  },
  presets: [
    {
      name: "the paper's FLUX",
      extents: { rows: 64, columns: 64 },
      params: { window: [20, 20], stride: [4, 4] },
      note: 'Windows of 80, each shared by 16 × 16 queries, at a quarter of their size along each axis.',
    },
    {
      name: 'no stride',
      params: { window: [4, 4] },
      note: 'Neighborhood attention: every query has its own window, and tiles are wasted most.',
    },
    {
      name: 'blocks',
      params: { window: [4, 4], stride: [4, 4] },
      note: 'It fails at the edges of blocks: tokens there do not see the one next to them.',
    },
  ],
  rivals: ['neighborhood-attention', 'attention'],
  view: 'mask',
};
