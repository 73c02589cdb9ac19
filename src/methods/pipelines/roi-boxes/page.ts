import type { Extents, Page } from '../../page';
import { attentionOnRegions } from '../toy-attention';

/** As a row of `boxes` has it. */
type Box = [batch: number, x0: number, y0: number, x1: number, y1: number];

/** Logits, high where the objects are. */
const inputs = (extents: Extents) => ({ map: attentionOnRegions(extents, false).map((each) => 8 * each - 4) });

export const page: Page = {
  question: 'Where in the picture is a second look worth it?',
  sample: { extents: { rows: 16, columns: 16 }, params: {}, inputs },
  presets: [
    { name: "the authors' grid", extents: { rows: 24, columns: 24 }, params: {}, note: 'LLaVA-1.5 at 336 pixels.' },
    { name: 'text in documents', params: { threshold: 0.05 }, note: 'Their threshold for small text: larger boxes.' },
    { name: 'by the largest', params: { threshold: -0.9 }, note: 'Only what is nearly as bright as the brightest.' },
    { name: 'nothing', params: { threshold: 1 }, note: 'It fails to find a region: no box at all.' },
  ],
  rivals: ['roi-labels'],
  view: 'outputs',
  pictures({ map, boxes }) {
    const [, rows, columns] = map!.shape as [number, number, number];
    const data = Array.from({ length: rows * columns }, (_, at) => 1 / (1 + Math.exp(-(map!.data[at] as number))));
    for (let at = 0; at < boxes!.data.length; at += 5) {
      const [batch, x0, y0, x1, y1] = Array.from({ length: 5 }, (_, field) => boxes!.data[at + field] as number) as Box;
      if (batch !== 0) continue;
      for (let y = y0; y < y1; y++)
        for (let x = x0; x < x1; x++)
          if (y === y0 || y === y1 - 1 || x === x0 || x === x1 - 1) data[y * columns + x] = -1;
    }
    return [{ name: 'map', rows, columns, data, note: 'Ink: the map. The other ink: the boxes around its regions.' }];
  },
};
