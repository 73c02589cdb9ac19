import type { Extents, Page } from '../../page';

/** Points along a helix, whose neighbours lie before and after them and a turn away. */
function inputs({ b = 1, n = 1 }: Extents) {
  const points = Float32Array.from({ length: 3 * b * n }, (_, at) => {
    const share = (Math.floor(at / 3) % n) / n;
    const angle = 8 * Math.PI * share;
    return [Math.cos(angle), Math.sin(angle), 2 * share][at % 3] as number;
  });
  return { points };
}

export const page: Page = {
  question: 'Which points stand for a cloud, and which go with each?',
  sample: { extents: { n: 256 }, params: { groups: 32, size: 32 }, inputs },
  presets: [
    { name: 'few, large', params: { groups: 8, size: 32 }, note: 'Groups overlap: points belong to several.' },
    { name: 'many, small', params: { groups: 64, size: 4 }, note: 'Close to the cloud itself.' },
    {
      name: 'one',
      params: { groups: 1, size: 64 },
      note: 'It fails to cover the cloud: only the first point has a group.',
    },
  ],
  rivals: ['kernel-attention'],
  view: 'outputs',
};
