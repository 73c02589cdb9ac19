import type { Page } from '../../page';

export const page: Page = {
  question: 'What do strips across and down see that a small kernel does not?',
  sample: { extents: { b: 1, c: 4, rows: 24, columns: 24, p: 5, t: 7, r: 32 }, params: { kernel: 23 } },
  presets: [
    {
      name: "the paper's",
      params: { kernel: 35 },
      extents: { p: 5, t: 11 },
      note: 'Strips see 35 places across and down.',
    },
    { name: 'short strips', params: { kernel: 11 }, extents: { p: 3, t: 5 }, note: 'They see 11 places.' },
    {
      name: 'a picture of one place',
      params: { kernel: 23 },
      extents: { rows: 1, columns: 1 },
      note: 'It fails to see anything: all taps but the middle ones read zeros.',
    },
  ],
  rivals: ['large-kernel-attention', 'dilated-reparam-conv'],
  view: 'outputs',
};
