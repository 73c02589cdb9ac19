import type { Page } from '../../page';
import { toyQkv, unitRow } from '../../toy';

export const page: Page = {
  question: 'Which chunks must be kept exactly, and which may fade into a state?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: { chunk: 8 },
    inputs(extents) {
      const { n = 1, h = 1 } = extents;
      const { q, k, v } = toyQkv(extents, { features: unitRow });
      return { q, k, v, g: new Float32Array(n * h).fill(-0.05), beta: new Float32Array(n * h).fill(0.3) };
    },
  },
  presets: [
    {
      name: "the paper's",
      extents: { n: 512, d: 64 },
      params: { chunk: 64 },
      note: 'Chunks of 64 tokens are routed together.',
    },
    {
      name: 'no forgetting',
      params: { chunk: 8, forget: false },
      note: 'The state keeps what it has while a chunk goes to softmax attention.',
    },
    {
      name: 'one chunk',
      params: { chunk: 64 },
      note: 'It fails to save anything: both memories see the whole sequence.',
    },
  ],
  rivals: ['gated-delta-rule', 'attention'],
  view: 'weights',
};
