import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Which regions of a picture does a region look at, if it may choose?',
  sample: {
    extents: { rows: 8, columns: 8, h: 1, d: 16 },
    params: { regions: 4, topRegions: 4 },
    inputs: toyQkv,
  },
  presets: [
    {
      name: "the paper's",
      extents: { rows: 28, columns: 28 },
      params: { regions: 7, topRegions: 4 },
      note: 'The second stage at 224 pixels: 64 keys for each query, as in the first and the third.',
    },
    {
      name: 'one region',
      params: { regions: 4, topRegions: 1 },
      note: 'Each region chooses one, which need not be itself.',
    },
    {
      name: 'all regions',
      params: { regions: 4, topRegions: 16 },
      note: 'It fails to save anything: this is exact attention.',
    },
  ],
  rivals: ['neighborhood-attention', 'attention'],
  view: 'weights',
};
