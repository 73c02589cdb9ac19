import type { Extents, Page } from '../../page';
import { attentionOnRegions } from '../toy-attention';

const inputs = (extents: Extents) => ({ attention: attentionOnRegions(extents, true) });

export const page: Page = {
  question: 'What does an answer say about where it was found?',
  sample: { extents: { rows: 16, columns: 16 }, params: {}, inputs, positive: ['attention'] },
  presets: [
    { name: "the authors' grid", extents: { rows: 24, columns: 24 }, params: {}, note: 'LLaVA-1.5 at 336 pixels.' },
    { name: 'strict', params: { foreground: 0.5 }, note: 'Fewer tokens are taken for seen, and the box shrinks.' },
    {
      name: 'too large a box',
      params: { foreground: 0.01 },
      note: 'It fails to tell anything: the box has half the picture, so every token is left open.',
    },
  ],
  rivals: ['roi-boxes'],
  view: 'outputs',
  pictures({ labels }) {
    const [, rows, columns] = labels!.shape as [number, number, number];
    const data = Array.from({ length: rows * columns }, (_, at) => ({ 1: 1, 0: -1 })[labels!.data[at] as 0 | 1] ?? 0);
    return [{ name: 'labels', rows, columns, data, note: 'Ink: looked at. The other ink: not. Paper: left open.' }];
  },
  glyph: { output: 'attention' },
};
