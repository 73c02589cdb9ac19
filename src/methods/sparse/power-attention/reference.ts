/** Which keys a query of `power-attention` sees: algorithm 1 of the paper, line by line. */
import type { Sees } from '../../../ops/attention/softmax';
import type { MaskProblem } from '../../define';

interface Pattern {
  readonly block: number;
  readonly window: number;
  readonly sink: boolean;
}

/** Query i stands at position i + m - n; blocks are counted from position 0. */
export function sees({ block, window, sink }: Pattern, { n, m }: Pick<MaskProblem, 'n' | 'm'>): Sees {
  return (i, key) => {
    const query = i + m - n;
    const distance = Math.floor(query / block) - Math.floor(key / block);
    const isSink = sink && key < block;
    const isNear = distance < window;
    const isPower = (distance & (distance - 1)) === 0;
    return query >= key && (isNear || isPower || isSink);
  };
}
