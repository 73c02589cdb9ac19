import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'Which keys are worth exact attention, if a rough map of it is known?',
  sample: { extents: { n: 64, h: 2, d: 16, w: 16 }, params: { keys: 8, causal: true, cells: 16 }, inputs: sampleOf },
  presets: [
    {
      name: 'the estimate alone',
      params: { keys: 1, causal: true, cells: 16 },
      note: 'It fails to see more than a cell or two of each query: what is left is the mean of the values.',
    },
    {
      name: 'more keys',
      params: { keys: 32, causal: true, cells: 16 },
      note: 'The budget may grow after training, without another.',
    },
    {
      name: 'all keys',
      params: { keys: 64, causal: true, cells: 16 },
      note: 'With prob and mix of 1 this is exact attention, whatever the estimate says.',
    },
  ],
  rivals: ['performer', 'attention'],
  view: 'weights',
};

/** Maps that the scores themselves give, so that they are worth following; trained ones would be estimated. */
function sampleOf(extents: Readonly<Record<string, number>>): Readonly<Record<string, ArrayLike<number>>> {
  const { b = 1, n = 1, h = 1, d = 1, w = 1 } = extents;
  const { q, k, v } = toyQkv(extents);
  const estimate = new Float32Array(b * h * n * w);
  for (let row = 0; row < b * h * n; row++) {
    const [i, head, batch] = [row % n, Math.floor(row / n) % h, Math.floor(row / n / h)];
    const at = (j: number) => ((batch * n + j) * h + head) * d;
    const map = estimate.subarray(row * w, (row + 1) * w);
    for (let j = 0; j <= i; j++) {
      let score = 0;
      for (let c = 0; c < d; c++) score += (q[at(i) + c] as number) * (k[at(j) + c] as number);
      map[Math.max(0, Math.floor(((j + 0.5) / (i + 1)) * w - 1e-4))]! += Math.exp(score / Math.sqrt(d));
    }
    const sum = map.reduce((total, mass) => total + mass, 0);
    for (let cell = 0; cell < w; cell++) map[cell]! /= sum;
  }
  const gate = (value: number) => new Float32Array(b * n * h).fill(value);
  return { q, k, v, estimate, prob: gate(1), mix: gate(0.9) };
}
