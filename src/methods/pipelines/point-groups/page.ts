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
  sample: { extents: { n: 256 }, letters: { n: 'points of the cloud' }, params: { groups: 32, size: 32 }, inputs },
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
  pictures({ points, centers, neighbors }) {
    const [n, size] = [points!.shape[1] as number, neighbors!.shape[2] as number];
    const [rows, columns] = [48, 96];
    const data = new Float32Array(rows * columns);
    const put = (point: number, reach: number, ink: number) => {
      const [, y, z] = [0, 1, 2].map((axis) => points!.data[3 * point + axis] as number) as [number, number, number];
      const [row, column] = [Math.round(22 * (1 - y)) + 2, Math.round(45 * z) + 2];
      for (let dy = -reach; dy <= reach; dy++)
        for (let dx = -reach; dx <= reach; dx++) data[(row + dy) * columns + column + dx] = ink;
    };
    for (let at = 0; at < n; at++) put(at, 0, 0.5);
    for (let at = 0; at < size; at++) put(neighbors!.data[at] as number, 0, -1);
    for (let at = 0; at < centers!.shape[1]!; at++) put(centers!.data[at] as number, 1, at === 0 ? -1 : 1);
    const note = 'The cloud from its side. Ink: its centres. The other ink: the first one and its group.';
    return [{ name: 'groups', rows, columns, data, note }];
  },
};
