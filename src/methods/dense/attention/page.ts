import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'What does it cost that every token weighs every other one, and what does a window leave out?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: {}, inputs: toyQkv },
  presets: [
    {
      name: 'a decoder',
      params: { causal: true },
      note: 'No token sees a later one: half of the pairs, and still the square of the length.',
    },
    {
      name: 'a window',
      params: { causal: true, window: [15, 0] },
      note: 'The work is linear, and a layer is blind beyond 15 tokens.',
    },
    {
      name: 'sinks lost',
      params: { causal: true, window: [7, 0] },
      note: 'It fails: the first tokens, which trained models lean on, are out of sight; set sinks to 4.',
    },
  ],
  rivals: ['power-attention', 'performer', 'lightning-attention'],
  view: 'weights',
};
