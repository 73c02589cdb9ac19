import type { Page } from '../../page';

export const page: Page = {
  question: 'How do five small kernels disappear into a large one?',
  sample: { extents: { b: 1, c: 4, rows: 24, columns: 24, k: 13 }, params: { kernel: 13 } },
  presets: [
    { name: "the paper's", params: { kernel: 13 }, note: 'Kernels of 5, 7, 3, 3 and 3, up to 5 apart.' },
    { name: 'the largest', params: { kernel: 17 }, extents: { k: 17 }, note: 'Up to 7 apart.' },
    {
      name: 'a picture of one place',
      params: { kernel: 13 },
      extents: { rows: 1, columns: 1 },
      note: 'It fails to see anything: all taps but the middle ones read zeros.',
    },
  ],
  rivals: ['large-kernel-attention', 'sdlska'],
  view: 'outputs',
};
