import { normal } from '../../../tensor/random';
import type { Page } from '../../page';

/** Keys that walk: each is nearly the one before. */
function walks({ n = 1, h = 1, d = 1 }: Readonly<Record<string, number>>) {
  const [q, k, v] = [normal(n * h * d, 1), normal(n * h * d, 2), normal(n * h * d, 3)];
  const [kept, fresh] = [0.95, Math.sqrt(1 - 0.95 ** 2)];
  for (let at = h * d; at < k.length; at++) k[at] = kept * (k[at - h * d] as number) + fresh * (k[at] as number);
  return { q, k, v };
}

export const page: Page = {
  question: 'What if keys are nearly what they were a token before?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { threshold: 0.4, windowShare: 0.1 }, inputs: walks },
  presets: [
    {
      name: "the code's",
      params: { threshold: 0.6 },
      note: 'The threshold in the file, and a window of a twentieth of the tokens.',
    },
    {
      name: 'a sliding window',
      params: { threshold: 0.6, window: 'sliding', sink: 4 },
      note: 'The exact keys are those just before the query, and the first four.',
    },
    {
      name: 'no change counts',
      params: { threshold: 100, windowShare: 0 },
      note: 'It fails to tell keys apart: every key is the first, and the result is the mean of all values so far.',
    },
  ],
  rivals: ['attention', 'sale'],
  view: 'weights',
};
