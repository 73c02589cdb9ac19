import { show } from '../check';
import { ParameterError } from '../errors';
import { interned, type Mask } from './mask';

/**
 * The keys around the diagonal: query i sees key j when i' - left <= j <= i' + right, where i' = i + m - n aligns the
 * last query with the last key (bottom-right). -1 leaves a side unbounded.
 */
export interface Band extends Mask {
  readonly left: number;
  readonly right: number;
}

/**
 * The keys from i - left to i + right for query i, both ends within; -1 leaves a side unbounded. Where there are m
 * keys and n queries, i is i + m - n: the last query stands at the last key.
 */
export function band(left: number, right: number): Band {
  checkReach('left', left);
  checkReach('right', right);
  return interned<Band>({
    name: bandName(left, right),
    left,
    right,
    slides: true,
    sees(i, j, { n, m }) {
      const distance = j - (i + m - n);
      return (left === -1 || distance >= -left) && (right === -1 || distance <= right);
    },
    intervals(i, { n, m }) {
      const aligned = i + m - n;
      const start = left === -1 ? 0 : Math.max(0, aligned - left);
      const end = right === -1 ? m : Math.min(m, aligned + right + 1);
      return start < end ? [start, end] : [];
    },
  });
}

/** Every key. */
export const full = (): Band => band(-1, -1);

/** The keys up to the query's own position. */
export const causal = (): Band => band(-1, 0);

function bandName(left: number, right: number): string {
  if (left === -1 && right === -1) return 'full';
  if (left === -1 && right === 0) return 'causal';
  return right === 0 ? `causal window ${left}` : `window [${left}, ${right}]`;
}

function checkReach(side: string, reach: number): void {
  if (!Number.isSafeInteger(reach) || reach < -1) {
    throw new ParameterError(`window ${side} must be an integer >= 0, or -1 for unbounded, got ${show(reach)}`);
  }
}
