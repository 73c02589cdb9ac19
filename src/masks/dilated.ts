import { checkWhole } from './check';
import { congruent, everyNth } from './intervals';
import { interned, type Mask } from './mask';
import { arrangeByResidue } from './residues';

/** Every `step`-th key around the query's position i + m - n, at most `reach` away on either side. */
export function dilated(reach: number, step: number): Mask {
  checkWhole('reach of a dilated window', reach, 0);
  checkWhole('step of a dilated window', step, 1);
  return interned({
    name: `dilated window ${reach} step ${step}`,
    sees(i, j, { n, m }) {
      const distance = i + m - n - j;
      return Math.abs(distance) <= reach && distance % step === 0;
    },
    intervals(i, { n, m }) {
      const position = i + m - n;
      const first = congruent(position, Math.max(0, position - reach), step);
      return everyNth(first, Math.min(m, position + reach + 1), step);
    },
    arrange: arrangeByResidue(step, (position, m) => [
      Math.max(0, position - reach),
      Math.min(m, position + reach + 1),
    ]),
  });
}
