import type { Extents, Page } from '../../page';
import { fromFirst, pointOnPaper } from '../../toy';

/** A point whose neighbourhood opens the gate of blank paper. */
function gatedPaper(extents: Extents) {
  const { c = 1, u = 1, v = 1, s = 1, t = 1 } = extents;
  return {
    x: pointOnPaper(extents),
    'conv0.weight': new Float32Array(c * u * v).fill(1),
    'conv0.bias': new Float32Array(c),
    'conv_spatial.weight': new Float32Array(c * s * t).fill(1),
    'conv_spatial.bias': new Float32Array(c),
    'conv1.weight': fromFirst(extents),
    'conv1.bias': new Float32Array(c),
  };
}

export const page: Page = {
  question: 'How can three small convolutions see 23 places, and gate what they see?',
  sample: {
    extents: { b: 1, c: 2, rows: 32, columns: 32, u: 5, v: 5, s: 7, t: 7 },
    letters: {
      u: 'rows of the first kernel',
      v: 'columns of the first kernel',
      s: 'rows of the dilated kernel',
      t: 'columns of the dilated kernel',
    },
    params: {},
    inputs: gatedPaper,
  },
  presets: [
    { name: "the paper's", params: { dilation: 3 }, note: '5 × 5, then 7 × 7 three apart: 23 places wide.' },
    { name: 'near', params: { dilation: 1 }, note: '11 places wide: the point opens the gate only close by.' },
    {
      name: 'a picture of one place',
      params: {},
      extents: { rows: 1, columns: 1 },
      note: 'It fails to see anything: all taps but the middle ones read zeros.',
    },
  ],
  rivals: ['sdlska', 'neighborhood-attention'],
  view: 'outputs',
  glyph: { output: 'out', plane: 1 },
};
