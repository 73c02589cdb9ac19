import { normal } from '../../../tensor/random';
import type { Extents, Page } from '../../page';
import { circle } from '../../toy';

/** A query, keys round a circle, and random heads in the order of where they look. */
function keysOnCircle({ b = 1, n = 1, d = 1, r = 1, w = 1 }: Extents) {
  const heads = normal(r * w * w, 61).map((value) => value / 2);
  if (d !== 2) return { weights: heads };
  const rows = Array.from({ length: r }, (_, head) => heads.slice(head * w * w, (head + 1) * w * w));
  // What the query (1, 0) and the 1 behind it ask of a key along each axis.
  const asked = (head: Float32Array, c: number) => (head[c] as number) + (head[2 * w + c] as number);
  const looksAt = (head: Float32Array) => Math.atan2(asked(head, 1), asked(head, 0));
  const weights = new Float32Array(r * w * w);
  for (const [at, head] of rows.sort((a, b) => looksAt(a) - looksAt(b)).entries()) weights.set(head, at * w * w);
  return { query: Float32Array.from({ length: 2 * b }, (_, at) => Number(at % 2 === 0)), keys: circle(b * n), weights };
}

export const page: Page = {
  question: 'What can one layer of attention learn while its queries and keys stay random?',
  sample: {
    extents: { b: 64, n: 1, d: 2, r: 64, w: 3 },
    letters: {
      b: 'queries',
      n: 'keys of a query',
      d: 'dimension of queries and keys',
      r: 'draws of the features',
      w: 'sides of a drawn matrix, d + 1',
    },
    params: {},
    inputs: keysOnCircle,
  },
  presets: [
    {
      name: "the paper's",
      extents: { b: 4, n: 16, d: 8, r: 16, w: 9 },
      params: { activation: 'relu' },
      note: 'Scores below 0 count as 0, and the sum is divided by the keys.',
    },
    {
      name: 'biased',
      params: { biased: true },
      note: 'Heads begin from the product of query and key, and differ less.',
    },
    {
      name: 'one key',
      extents: { n: 1 },
      params: { activation: 'softmax' },
      note: 'It fails to tell heads apart: a softmax of one key is 1, so that all features are alike.',
    },
  ],
  rivals: ['kernel-ridge', 'snnk'],
  view: 'outputs',
  glyph: { output: 'out', plane: 2 },
};
