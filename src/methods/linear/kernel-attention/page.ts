import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'How much of softmax attention is left with few random features?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: { features: 10 },
    inputs: (extents) => toyQkv(extents, { size: 0.6 }),
  },
  presets: [
    {
      name: "the authors' ten features",
      params: { features: 10 },
      note: 'Rank ten: rows look alike, and are off by more than their size.',
    },
    {
      name: 'more features',
      params: { features: 256 },
      note: 'Closer, but Gaussian directions still err by more than 100% at unit variance.',
    },
    {
      name: 'the advisor',
      params: { part: 'advisor' },
      note: 'A memory across calls: each token corrects what its key recalls.',
    },
    {
      name: 'the sum',
      params: { part: 'advisor', update: 'sum' },
      note: 'It fails to forget: without correction values pile up.',
    },
  ],
  rivals: ['performer', 'gated-delta-rule'],
  view: 'weights',
};
