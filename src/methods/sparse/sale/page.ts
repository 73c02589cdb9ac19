import { normal } from '../../../tensor/random';
import type { Page } from '../../page';

/** A sink that all queries see, and queries that look for one key each, far back: the sheet's needle head. */
function needles({ n = 1, h = 1, d = 1 }: Readonly<Record<string, number>>) {
  const [q, k, draws] = [normal(n * h * d, 1).map((x) => x / 2), normal(n * h * d, 2), normal(n * h * d, 3)];
  for (let row = 0; row < n * h; row++) {
    const [i, head] = [Math.floor(row / h), row % h];
    q[row * d] = (q[row * d] as number) + 6;
    if (i < 4) k[row * d] = (k[row * d] as number) + 10;
    if (i < n / 3 || i % 16 !== 0) continue;
    const far = (Math.floor(i * 0.618 * 64) % Math.floor(i / 2)) * h + head;
    for (let c = 0; c < d; c++) q[row * d + c]! += 2.2 * (k[far * d + c] as number);
  }
  return { q, k, v: draws };
}

export const page: Page = {
  question: 'Which blocks of a long prompt hold a pair that matters?',
  sample: {
    extents: { n: 512, h: 1, d: 16 },
    params: { threshold: 0.02, denseBelow: 0, queryBlock: 16, keyBlock: 8, local: 32, segment: 32 },
    inputs: needles,
  },
  presets: [
    {
      name: "the authors'",
      extents: { n: 2048, h: 2, d: 64 },
      params: { threshold: 0.008, denseBelow: 0 },
      note: 'Blocks of 64 by 32, and the threshold from which they calibrate: what is beside the diagonal is kept one by one.',
    },
    {
      name: 'a large threshold',
      params: { threshold: 0.5, denseBelow: 0, queryBlock: 16, keyBlock: 8, local: 32, segment: 32 },
      note: 'It fails to find the needles: little more than the first and the near keys is left.',
    },
    {
      name: 'exact scores',
      params: { threshold: 0.02, denseBelow: 0, queryBlock: 16, keyBlock: 8, local: 32, segment: 32, quantize: 'none' },
      note: 'Nearly the same blocks as by four bits.',
    },
    {
      name: 'a short prompt',
      extents: { n: 256 },
      params: { threshold: 0.02 },
      note: 'With 1024 tokens or fewer attention is dense.',
    },
  ],
  rivals: ['attention', 'power-attention'],
  view: 'outputs',
  glyph: { output: 'kept' },
};
