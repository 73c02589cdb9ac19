import type { Extents, Page } from '../../page';
import { attentionOnRegions } from '../toy-attention';

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
};
