import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Can powers and a difference sharpen linear attention?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { gamma: 3 }, inputs: toyQkv },
  presets: [
    {
      name: 'sharper',
      params: { gamma: 5 },
      note: 'Fewer keys take more of the weight.',
    },
    {
      name: 'plain features',
      params: { gamma: 1 },
      note: 'It fails to focus: the weights of linear attention over relu are nearly alike.',
    },
  ],
  rivals: ['l2vit', 'performer'],
  view: 'weights',
};
