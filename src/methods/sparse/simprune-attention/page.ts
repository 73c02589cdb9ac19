import type { Extents, Page } from '../../page';
import { toyPicture, toyQkv } from '../../toy';

/** Tokens of soft discs on a ground: most are much like their neighbours. */
function inputs(extents: Extents) {
  const { n = 1, c = 1 } = extents;
  const side = Math.round(Math.sqrt(n));
  const picture = toyPicture([c, side, Math.ceil(n / side)]);
  const tokens = Float32Array.from({ length: n * c }, (_, at) => {
    return (picture[(at % c) * side * Math.ceil(n / side) + Math.floor(at / c)] as number) + 0.02 * ((at * 7919) % 13);
  });
  return { ...toyQkv(extents), tokens };
}

export const page: Page = {
  question: 'Which tokens of a picture can attention do without?',
  sample: { extents: { n: 64, h: 1, d: 16, c: 8 }, params: { grid: [8, 8] }, inputs },
  presets: [
    {
      name: 'a third',
      params: { grid: [8, 8], ratio: 0.3 },
      note: 'Where the time that it saves pays for the choice.',
    },
    {
      name: 'before',
      params: { grid: [8, 8], recover: 'before' },
      note: 'Copies count among the keys, as in the abstract.',
    },
    {
      name: 'bases alone',
      params: { grid: [8, 8], ratio: 0.75 },
      note: 'It fails to choose: one token of each patch is left, and all others copy.',
    },
  ],
  rivals: ['adaptive-token-pruning', 'attention'],
  view: 'weights',
};
