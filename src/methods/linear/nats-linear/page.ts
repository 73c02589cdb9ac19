import type { Page } from '../../page';

export const page: Page = {
  question: 'Which chunks must be kept exactly, and which may fade into a state?',
  sample: { extents: { n: 512, h: 1, d: 64 }, params: {} },
  presets: [
    {
      name: "the paper's",
      params: { chunk: 64 },
      note: 'Chunks of 64 tokens are routed together.',
    },
    {
      name: 'no forgetting',
      params: { chunk: 64, forget: false },
      note: 'The state keeps what it has while a chunk goes to softmax attention.',
    },
    {
      name: 'one chunk',
      params: { chunk: 512 },
      note: 'It fails to save anything: both memories see the whole sequence.',
    },
  ],
  rivals: ['gated-delta-rule', 'attention'],
  view: 'weights',
};
