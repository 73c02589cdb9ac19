import { checkWhole } from './check';
import { congruent, everyNth } from './intervals';
import { interned, type Mask } from './mask';
import { arrangeByResidue } from './residues';

/** The keys at multiples of `stride` from the query's position i + m - n: slashes in the picture. */
export function strided(stride: number): Mask {
  checkWhole('stride', stride, 1);
  return interned({
    name: `stride ${stride}`,
    sees: (i, j, { n, m }) => (i + m - n - j) % stride === 0,
    intervals: (i, { n, m }) => everyNth(congruent(i + m - n, 0, stride), m, stride),
    arrange: arrangeByResidue(stride, (_, m) => [0, m]),
  });
}
