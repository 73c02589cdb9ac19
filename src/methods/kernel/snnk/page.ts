import { normal } from '../../../tensor/random';
import type { Page } from '../../page';

/** Rows about as long as the roots of their number, as layers have them, and signs. */
function inputs({ b = 1, d = 1, l = 1, r = 1 }: Readonly<Record<string, number>>) {
  const short = (count: number, seed: number) => normal(count * d, seed).map((value) => value / Math.sqrt(d));
  return { x: short(b, 1), w: short(l, 2), signs: Int32Array.from({ length: r }, (_, i) => (i % 2 === 0 ? 1 : -1)) };
}

export const page: Page = {
  question: 'Can a layer be a single product of features, of its inputs and of its weights?',
  sample: { extents: { b: 32, d: 16, l: 32, r: 256 }, params: { activation: 'cos' }, inputs },
  presets: [
    {
      name: "the authors' adapters",
      extents: { r: 8 },
      params: { activation: 'relu' },
      note: 'Eight features and the arc-cosine kernel: no estimate of relu(w x), but a layer of its own.',
    },
    {
      name: 'almost linear',
      params: { activation: 'relu', floor: -5 },
      note: 'Features that are hardly ever cut estimate w x itself.',
    },
    {
      name: 'symmetric',
      params: { activation: 'cos', split: 'symmetric' },
      note: 'It fails sooner: errors grow with the length of x + w.',
    },
  ],
  rivals: ['random-feature-attention', 'kernel-ridge'],
  view: 'outputs',
};
