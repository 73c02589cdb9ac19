import { normal } from '../../../tensor/random';
import type { Extents, Page } from '../../page';
import { circle } from '../../toy';

/** Inputs and weights round a circle; in more dimensions of about its size. */
function inputs({ b = 1, d = 1, l = 1 }: Extents) {
  const short = (count: number, seed: number) => normal(count * d, seed).map((value) => value / Math.sqrt(d));
  const points = (count: number, seed: number) => (d === 2 ? circle(count) : short(count, seed));
  return { x: points(b, 1), w: points(l, 2) };
}

export const page: Page = {
  question: 'Can a layer be a single product of features, of its inputs and of its weights?',
  sample: {
    extents: { b: 64, d: 2, l: 64, r: 24 },
    letters: { b: 'rows of x', d: 'inputs of the layer', l: 'outputs of the layer', r: 'random features' },
    params: { activation: 'relu' },
    inputs,
  },
  presets: [
    {
      name: 'a cosine',
      extents: { r: 256 },
      params: { activation: 'cos' },
      note: 'Bands: the cosine of w x itself, which is largest where they are at right angles.',
    },
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
      name: 'GELU',
      extents: { r: 256 },
      params: { activation: 'gelu' },
      note: 'A sum of waves by its Fourier transform, a frequency for each projection.',
    },
    {
      name: 'symmetric',
      extents: { r: 256 },
      params: { activation: 'cos', split: 'symmetric' },
      note: 'It fails sooner: errors grow with the length of x + w.',
    },
  ],
  rivals: ['random-feature-attention', 'kernel-ridge'],
  view: 'outputs',
  glyph: { output: 'out' },
};
