/** Which keys a query of `s2-attention` sees, as in get_sparse_attn_mask of github.com/linxihui/dkernel. */
import type { Sees } from '../../../ops/attention/softmax';
import type { MaskProblem } from '../../define';

interface Pattern {
  readonly block: number;
  readonly localBlocks: number | readonly [before: number, after: number];
  readonly verticalStride: number;
  readonly headStep?: number | undefined;
  readonly headOffset: number;
  readonly denseHeads: number;
  readonly homogeneous: boolean;
  readonly positions: 'absolute' | 'relative';
}

/** Query i stands at position i + m - n; blocks are counted from position 0, heads are key/value heads. */
export function sees(pattern: Pattern, { n, m, h, g }: Pick<MaskProblem, 'n' | 'm' | 'h' | 'g'>): Sees {
  const { block, localBlocks, verticalStride, headOffset, denseHeads, homogeneous, positions } = pattern;
  const { headStep = Math.max(1, Math.floor(verticalStride / h)) } = pattern;
  const [before, after] = typeof localBlocks === 'number' ? [localBlocks, localBlocks] : localBlocks;
  return (i, key, queryHead) => {
    const query = i + m - n;
    const [own, other] = [Math.floor(query / block), Math.floor(key / block)];
    const head = homogeneous ? 0 : Math.floor((queryHead * g) / h);
    const isDense = head >= g - denseHeads;
    if (positions === 'relative') {
      const left = Math.max(0, own - other - before + 1);
      const right = Math.max(0, other - own - after + 1);
      return isDense || (left + right) % verticalStride === 0;
    }
    const isStripe = (other + head * headStep + headOffset) % verticalStride === 0;
    return key <= query && (isStripe || isDense || own - other < before);
  };
}
