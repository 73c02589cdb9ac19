import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'What does a line fitted around each query weigh that a mean does not?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { ridge: 1, causal: true }, inputs: toyQkv },
  presets: [
    {
      name: "the authors' default",
      params: { ridge: 10, causal: true },
      note: 'The penalty of the released code: near softmax attention on these numbers.',
    },
    {
      name: 'a line',
      params: { ridge: 0.1, causal: true },
      note: 'A small ridge: the fit is a line, and some weights are negative.',
    },
    {
      name: 'a mean',
      params: { ridge: 1e6 },
      note: 'A large ridge leaves softmax attention.',
    },
    {
      name: 'too few steps',
      params: { ridge: 0.01, maxIterations: 2 },
      note: 'It fails: conjugate gradients do not converge in two steps, which is an error in a run.',
    },
  ],
  rivals: ['parallax', 'attention'],
  view: 'weights',
};
