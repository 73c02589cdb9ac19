import type { Page } from '../../page';

export const page: Page = {
  question: 'How soon does a window reach everything if the tokens are shuffled?',
  sample: { extents: { n: 1024, h: 1, d: 64 }, params: { window: 64 } },
  presets: [
    {
      name: 'causal',
      params: { window: 64, causal: true },
      note: 'Later tokens drop out of the windows, which leaves 64 keys on average.',
    },
    {
      name: "the paper's pair",
      params: { window: 64, gated: true },
      note: 'A sliding window is added by gates. That is no mask any more, so its weights are shown.',
      view: 'weights',
    },
    {
      name: 'near tokens lost',
      params: { window: 8 },
      note: 'It fails where near tokens matter: the token next to a query is hardly ever seen.',
    },
  ],
  rivals: ['attention', 'power-attention'],
  view: 'mask',
};
