import type { Page } from '../../page';

export const page: Page = {
  question: 'What does it cost that every token weighs every other one, and what does a window leave out?',
  sample: { extents: { n: 1024, h: 1, d: 64 }, params: { causal: true } },
  presets: [
    {
      name: "the paper's encoder",
      params: {},
      note: 'Every pair is seen, so the work grows with the square of the length.',
    },
    {
      name: 'a window',
      params: { causal: true, window: [127, 0] },
      note: 'The work is linear, and a layer is blind beyond 127 tokens.',
    },
    {
      name: 'sinks lost',
      params: { causal: true, window: [15, 0] },
      note: 'It fails: the first tokens, which trained models lean on, are out of sight; set sinks to 4.',
    },
  ],
  rivals: ['power-attention', 'performer', 'lightning-attention'],
  view: 'mask',
};
