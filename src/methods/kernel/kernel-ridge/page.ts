import type { Page } from '../../page';

export const page: Page = {
  question: 'What does a kernel machine predict from a small support, and when does it just remember it?',
  sample: { extents: { s: 64, p: 8, c: 4, m: 64 }, params: { kernel: 'gaussian', bandwidth: 3, ridge: 0.1 } },
  presets: [
    {
      name: "the authors'",
      params: { kernel: 'laplace', bandwidth: 4, ridge: 0.11 },
      note: 'What their code calls rbf: exp(-|a - b|_1 / 4), with the ridge that training starts from.',
    },
    { name: 'a line', params: { kernel: 'linear', ridge: 0.1 }, note: 'Linear regression, solved in its dual form.' },
    {
      name: 'too narrow',
      params: { kernel: 'gaussian', bandwidth: 0.2, ridge: 0.001 },
      note: 'It fails to generalise: away from the support all predictions are 0.',
    },
  ],
  rivals: ['random-feature-attention', 'snnk'],
  view: 'outputs',
};
