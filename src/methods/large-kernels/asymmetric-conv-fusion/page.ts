import { normal } from '../../../tensor/random';
import type { Extents, Page } from '../../page';

/** A pattern, and noise in which it lies at two thirds of the way. */
function patternInNoise({ n = 1, m = 1, c = 1 }: Extents) {
  const y = normal(m * c, 2);
  const first = Math.max(0, Math.floor((2 * n) / 3 - m / 2));
  const x = normal(n * c, 1).map((value, i) => {
    const k = Math.floor(i / c) - first;
    return 0.3 * value + (k >= 0 && k < m ? (y[k * c + (i % c)] as number) : 0);
  });
  return { x, y };
}

export const page: Page = {
  question: 'Where in a long sequence does a short one lie?',
  sample: { extents: { n: 96, b: 1, m: 15, c: 4 }, params: {}, inputs: patternInNoise },
  presets: [
    { name: 'same', params: { padding: 'same' }, note: 'Each channel peaks where the pattern lies.' },
    { name: 'valid', params: { padding: 'valid' }, note: 'Only places where the whole pattern fits.' },
    {
      name: 'one tap',
      params: {},
      extents: { m: 1 },
      note: 'It fails to find anything: a kernel of one row only scales each channel.',
    },
  ],
  rivals: ['large-kernel-attention', 'attention'],
  view: 'outputs',
};
