import { type Extents, type Page, shapeOfSpec } from '../../page';
import { fromFirst, pointOnPaper } from '../../toy';
import { INPUTS } from './kernels';

/** A point whose neighbourhood opens the gate of blank paper; the selection takes every strip alike. */
function gatedPaper(extents: Extents) {
  const of = (name: string) => {
    const size = shapeOfSpec(INPUTS[name] as string, extents).reduce<number>((all, extent) => all * (extent ?? 1), 1);
    return new Float32Array(size).fill(/^DW.*weight|running_var/.test(name) ? 1 : 0);
  };
  const plain = Object.fromEntries(Object.keys(INPUTS).map((name) => [name, of(name)]));
  return { ...plain, x: pointOnPaper(extents), 'pwconv.pwconv.weight': fromFirst(extents) };
}

export const page: Page = {
  question: 'What do strips across and down see that a small kernel does not?',
  sample: {
    extents: { b: 1, c: 2, rows: 32, columns: 32, p: 5, t: 7, r: 32 },
    letters: { p: 'side of the first kernel', t: 'length of the strips', r: 'channels within the gates' },
    params: { kernel: 23 },
    inputs: gatedPaper,
  },
  presets: [
    {
      name: "the paper's",
      params: { kernel: 35 },
      extents: { p: 5, t: 11 },
      note: 'Strips see 35 places across and down.',
    },
    { name: 'short strips', params: { kernel: 11 }, extents: { p: 3, t: 5 }, note: 'They see 11 places.' },
    {
      name: 'a picture of one place',
      params: { kernel: 23 },
      extents: { rows: 1, columns: 1 },
      note: 'It fails to see anything: all taps but the middle ones read zeros.',
    },
  ],
  rivals: ['large-kernel-attention', 'dilated-reparam-conv'],
  view: 'outputs',
  glyph: { output: 'out', plane: 1 },
};
