import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Can a learned probe take the place of a solver at every query?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: { causal: true },
    inputs(extents) {
      const { q, k, v } = toyQkv(extents);
      return { q, k, v, r: toyQkv(extents, { size: 0.25 }).k };
    },
  },
  presets: [
    {
      name: 'a window',
      params: { window: 16 },
      note: 'Keys further back are dropped.',
    },
    {
      name: 'few keys',
      params: { window: 2 },
      note: 'It fails to add anything: the covariance of two keys says little.',
    },
  ],
  rivals: ['local-linear-attention', 'attention'],
  view: 'weights',
};
