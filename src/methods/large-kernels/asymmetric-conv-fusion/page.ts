import { normal } from '../../../tensor/random';
import type { Extents, Page } from '../../page';

/** A pattern, and noise in which it lies: in each channel elsewhere, along a wave from channel to channel. */
function patternInNoise({ n = 1, m = 1, c = 1 }: Extents) {
  const y = normal(m * c, 2);
  const x = normal(n * c, 1).map((value, i) => {
    const channel = i % c;
    const middle = n * (0.5 + 0.35 * Math.sin((2 * Math.PI * channel) / c));
    const k = Math.floor(i / c) - Math.floor(middle - m / 2);
    return 0.3 * value + (k >= 0 && k < m ? (y[k * c + channel] as number) : 0);
  });
  return { x, y };
}

export const page: Page = {
  question: 'Where in a long sequence does a short one lie?',
  sample: {
    extents: { n: 64, b: 1, m: 9, c: 64 },
    letters: { n: 'rows of x', m: 'rows of y, the taps' },
    params: {},
    inputs: patternInNoise,
  },
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
  glyph: { output: 'out' },
};
