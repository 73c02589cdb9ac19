import type { Page } from '../../page';

export const page: Page = {
  question: 'What does a state of fixed size recall once a key has been written again?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: {} },
  presets: [
    {
      name: "the paper's",
      params: {},
      note: 'Keys of 64 numbers: the state holds about as many pairs.',
    },
    {
      name: 'too many pairs',
      extents: { d: 16 },
      params: {},
      note: 'It fails to look up 512 pairs by keys of 16 numbers: what is read is a mixture.',
    },
  ],
  rivals: ['lightning-attention', 'nats-linear'],
  view: 'weights',
};
