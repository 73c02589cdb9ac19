import type { Extents, Page } from '../../page';
import { attentionOnRegions } from '../toy-attention';

/** Two subjects in turn at the left and the right of a picture, whose places attend to what is near them. */
function inputs({ b = 1, s = 1, t = 1 }: Extents) {
  const haze = attentionOnRegions({ b, rows: s, columns: s }, true);
  const size = s * s;
  const near = (a: number, c: number) => {
    const [dy, dx] = [Math.floor(a / s) - Math.floor(c / s), (a % s) - (c % s)];
    return Math.exp(-(dy * dy + dx * dx) / (s / 4) ** 2);
  };
  const peaks = [0.25, 0.75, 0.5].map((x) => Math.floor(s / 2) * s + Math.floor(x * s));
  const cross = Float32Array.from({ length: b * size * t }, (_, at) => {
    const [place, token] = [Math.floor(at / t) % size, at % t];
    const peak = peaks[(token - 1) % peaks.length] ?? 0;
    return (0.9 * near(place, peak)) / t + 0.1 * (haze[place] as number);
  });
  const self = Float32Array.from({ length: b * size * size }, (_, at) => {
    const [place, other] = [Math.floor(at / size) % size, at % size];
    return near(place, other);
  });
  return { cross, self };
}

export const page: Page = {
  question: 'Will the picture have every subject of its prompt?',
  sample: {
    extents: { s: 8, t: 6, places: 64 },
    letters: {
      s: 'side of the square maps',
      t: 'tokens of the prompt',
      places: 'places that a place attends to, s times s',
    },
    params: { subjects: [1, 2] },
    inputs,
    positive: ['cross', 'self'],
  },
  presets: [
    {
      name: 'three subjects',
      params: { subjects: [1, 2, 3] },
      note: 'The third lies between them, and overlaps both.',
    },
    { name: 'unblurred', params: { subjects: [1, 2], smooth: false }, note: 'Peaks count by single places.' },
    { name: 'one subject', params: { subjects: [1] }, note: 'It fails to have an overlap: the second score is 0.' },
  ],
  rivals: ['simprune-attention'],
  view: 'outputs',
  pictures({ cross }, { subjects }) {
    const [, s, , t] = cross!.shape as [number, number, number, number];
    const tokens = subjects as readonly number[];
    const data = tokens.flatMap((token) =>
      Array.from({ length: s * s }, (_, at) => cross!.data[at * t + token] as number),
    );
    const note = 'The grid of a picture, for each subject. Ink: how much a place attends to it.';
    return [{ name: 'cross', rows: s, columns: s, planes: tokens.length, data, note }];
  },
};
