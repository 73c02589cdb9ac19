import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'How soon does a window reach everything if the tokens are shuffled?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { window: 4 }, inputs: toyQkv },
  presets: [
    {
      name: 'causal',
      params: { window: 4, causal: true },
      note: 'Later tokens drop out of the windows, which leaves four keys on average.',
    },
    {
      name: "the paper's pair",
      extents: { n: 512 },
      params: { window: 64, gated: true },
      note: 'A sliding window is added by gates. That is no mask any more, so its weights are shown.',
      view: 'weights',
    },
    {
      name: 'near tokens lost',
      extents: { n: 1024 },
      params: { window: 8 },
      note: 'It fails where near tokens matter: the token next to a query is hardly ever seen.',
    },
  ],
  rivals: ['attention', 'power-attention'],
  view: 'mask',
};
