import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'What do weights look like that are products of relus, and when are they no mean?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { minimum: 100 }, inputs: toyQkv },
  presets: [
    {
      name: 'no minimum',
      params: { minimum: 0 },
      note: 'Denominators as they are: each row is a mean.',
    },
    {
      name: 'few tokens',
      extents: { n: 8 },
      params: { minimum: 100 },
      note: 'It fails to average: denominators below the minimum shrink the rows.',
    },
  ],
  rivals: ['dydila', 'neighborhood-attention'],
  view: 'weights',
};
