import type { Page } from '../../page';

export const page: Page = {
  question: 'Can powers and a difference sharpen linear attention?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: {} },
  presets: [
    {
      name: 'the usual exponent',
      params: { gamma: 3 },
      note: 'Features are cubed and keep their length.',
    },
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
