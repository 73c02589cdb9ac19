/** How to read the glyphs: their ink by family, unless a paper says otherwise. */
import type { Family, ListedPaper } from '../../src/papers';

const OF_FAMILY: Readonly<Record<Family, string>> = {
  exact: 'Ink: seen.',
  'fixed masks': 'Full ink: seen in one layer. Fainter: reached through two, three.',
  'chosen keys': 'Full ink: attended. Faint: only estimated, or passed over. Toy data.',
  'pruned tokens': 'Full ink: kept to the last stage. Fainter: dropped earlier. Toy data.',
  'linear and recurrent': 'Ink: the weight of a pair, as if pairs were stored. Toy data.',
  'local linear': 'Ink: the weight of a pair; the other ink: negative. Toy data.',
  'large kernels': 'One pixel in the middle. Ink: in how many ways it gathers from there.',
  'kernel methods': 'Ink: the value.',
};

export function reading({ picture, family }: ListedPaper): string {
  const { shows, ink = OF_FAMILY[family] } = picture ?? { shows: '' };
  return `${shows} ${ink}`.trim();
}
