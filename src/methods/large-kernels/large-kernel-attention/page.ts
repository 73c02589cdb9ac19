import { normal } from '../../../tensor/random';
import type { Extents, Page } from '../../page';

/** A bright stroke on a dim picture, and kernels that average. */
function strokeAndMeans({ rows = 1, columns = 1, c = 1, u = 1, v = 1, s = 1, t = 1 }: Extents) {
  const noise = normal(c * rows * columns, 1);
  return {
    x: noise.map((value, i) => 0.2 * value + (Math.floor(i / columns) % rows === Math.floor(rows / 2) ? 1 : 0)),
    'conv0.weight': new Float32Array(c * u * v).fill(1 / (u * v)),
    'conv0.bias': new Float32Array(c),
    'conv_spatial.weight': new Float32Array(c * s * t).fill(1 / (s * t)),
    'conv_spatial.bias': new Float32Array(c),
    'conv1.weight': Float32Array.from({ length: c * c }, (_, i) => (i % (c + 1) === 0 ? 1 : 0)),
    'conv1.bias': new Float32Array(c),
  };
}

export const page: Page = {
  question: 'How can three small convolutions see 23 places, and gate what they see?',
  sample: {
    extents: { b: 1, c: 4, rows: 32, columns: 32, u: 5, v: 5, s: 7, t: 7 },
    params: {},
    inputs: strokeAndMeans,
  },
  presets: [
    { name: "the paper's", params: { dilation: 3 }, note: '5 × 5, then 7 × 7 three apart: 23 places wide.' },
    { name: 'near', params: { dilation: 1 }, note: '11 places wide: the gate follows the stroke closely.' },
    {
      name: 'a picture of one place',
      params: {},
      extents: { rows: 1, columns: 1 },
      note: 'It fails to see anything: all taps but the middle ones read zeros.',
    },
  ],
  rivals: ['sdlska', 'neighborhood-attention'],
  view: 'outputs',
};
