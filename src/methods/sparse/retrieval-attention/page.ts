import type { Page } from '../../page';
import { toyQkv } from '../../toy';

const params = { topK: 7, first: 3, recent: 9 };

export const page: Page = {
  question: 'How few of the old tokens does a step need?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params, inputs: toyQkv },
  presets: [
    {
      name: 'in cells',
      params: { ...params, index: 'ivf', probes: 2 },
      note: 'It scores the keys of two cells of seven.',
    },
    { name: 'in a graph', params: { ...params, index: 'graph', beam: 8 }, note: 'It scores what its search passes.' },
    {
      name: 'a window alone',
      params: { ...params, topK: 1 },
      note: 'It fails where an old token matters: one is fetched.',
    },
  ],
  rivals: ['attention', 'power-attention'],
  view: 'weights',
};
