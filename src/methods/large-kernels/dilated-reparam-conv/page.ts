import { type Extents, type Page, shapeOfSpec } from '../../page';
import { pointOnPaper } from '../../toy';
import { BRANCHES, INPUTS, type LargeKernel, namesOf, OPTIONAL } from './branches';

/** A point, and kernels of ones whose statistics change nothing. */
function pointAndOnes(extents: Extents) {
  const branches = (BRANCHES[extents.k as LargeKernel] ?? []).map(namesOf);
  const own = Object.entries(OPTIONAL).filter(([name]) =>
    branches.some(({ conv, norm }) => name.startsWith(`${conv}.`) || name.startsWith(`${norm}.`)),
  );
  const plain = [...Object.entries(INPUTS), ...own].map(([name, spec]) => {
    const size = shapeOfSpec(spec, extents).reduce<number>((all, extent) => all * (extent ?? 1), 1);
    return [name, new Float32Array(size).fill(/weight|running_var/.test(name) ? 1 : 0)] as const;
  });
  return { ...Object.fromEntries(plain), x: pointOnPaper(extents) };
}

export const page: Page = {
  question: 'How do five small kernels disappear into a large one?',
  sample: {
    extents: { b: 1, c: 1, rows: 32, columns: 32, k: 13 },
    letters: { k: 'side of the large kernel' },
    params: { kernel: 13 },
    inputs: pointAndOnes,
  },
  presets: [
    { name: "the paper's", params: { kernel: 13 }, note: 'Kernels of 5, 7, 3, 3 and 3, up to 5 apart.' },
    { name: 'the largest', params: { kernel: 17 }, extents: { k: 17 }, note: 'Up to 7 apart.' },
    {
      name: 'a picture of one place',
      params: { kernel: 13 },
      extents: { rows: 1, columns: 1 },
      note: 'It fails to see anything: all taps but the middle ones read zeros.',
    },
  ],
  rivals: ['large-kernel-attention', 'sdlska'],
  view: 'outputs',
  glyph: { output: 'out' },
};
