import type { Extents, Page } from '../../page';
import { topicOf, toyQkv } from '../../toy';

/** The toy sequence, of which an earlier layer has dropped what is of the last two topics. */
const pruned = (extents: Extents) => ({
  ...toyQkv(extents),
  policy: Array.from({ length: extents.n ?? 1 }, (_, token) => Number(topicOf(token) < 3)),
});

export const page: Page = {
  question: 'Which tokens of a picture does the class token overlook?',
  sample: { extents: { n: 64, h: 1, d: 16 }, params: { threshold: 0.01 }, inputs: pruned },
  presets: [
    { name: "the authors' first threshold", params: { threshold: 0.001 }, note: 'Where training starts from.' },
    { name: 'strict', params: { threshold: 0.03 }, note: 'Few tokens are left, the class token always.' },
    { name: 'none is kept', params: { threshold: 1 }, note: 'It fails to see anything: the class token is alone.' },
  ],
  rivals: ['bilevel-routing-attention', 'attention'],
  view: 'weights',
};
