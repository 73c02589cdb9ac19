import type { Page } from '../../page';
import { toyQkv, unitRow } from '../../toy';

export const page: Page = {
  question: 'What does a state of fixed size recall once a key has been written again?',
  sample: {
    extents: { n: 64, h: 1, d: 16 },
    params: {},
    inputs(extents) {
      const { n = 1, h = 1 } = extents;
      const { q, k, v } = toyQkv(extents, { features: unitRow });
      return { q, k, v, g: new Float32Array(n * h).fill(Math.log(0.985)), beta: new Float32Array(n * h).fill(0.3) };
    },
  },
  presets: [
    {
      name: "the paper's",
      extents: { n: 512, d: 64 },
      params: {},
      note: 'Keys of 64 numbers: the state holds about as many pairs.',
    },
    {
      name: 'too many pairs',
      extents: { n: 512 },
      params: {},
      note: 'It fails to look up 512 pairs by keys of 16 numbers: what is read is a mixture.',
    },
  ],
  rivals: ['lightning-attention', 'nats-linear'],
  view: 'weights',
};
