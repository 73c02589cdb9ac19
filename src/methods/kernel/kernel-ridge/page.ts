import { normal } from '../../../tensor/random';
import type { Extents, Page } from '../../page';

/** Samples of four tasks of two classes each; the label of each is its own, so that predictions are what labels weigh. */
function tasks({ s = 1, p = 1, c = 1, m = 1 }: Extents) {
  const samples = (count: number, seed: number) => {
    const noise = normal(count * p, seed);
    return noise.map((value, i) => {
      const [at, channel] = [Math.floor(i / p) / count, i % p];
      const [task, label] = [Math.floor(4 * at), Math.floor(8 * at) % 2];
      return 0.45 * value + (channel === label ? 1.6 : 0) + (channel === 2 + task ? 2 : 0);
    });
  };
  const labels = Float32Array.from({ length: s * c }, (_, i) => Number(i % c === Math.floor(i / c)));
  return { support: samples(s, 83), labels, query: samples(m, 89) };
}

export const page: Page = {
  question: 'What does a kernel machine predict from a small support, and when does it just remember it?',
  sample: {
    extents: { s: 64, p: 8, c: 64, m: 64 },
    letters: { s: 'samples of the support', p: 'features of a sample', c: 'columns of labels', m: 'queries' },
    params: { kernel: 'gaussian', bandwidth: 1.5, ridge: 1 },
    inputs: tasks,
  },
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
  glyph: { output: 'out' },
};
