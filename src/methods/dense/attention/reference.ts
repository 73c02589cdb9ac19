/** Which keys a query of `attention` sees, and how scores change, straight from the meaning of the params. */
import type { Modifier, Sees } from '../../../ops/attention/softmax';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import type { MaskProblem } from '../../define';

interface Seen {
  readonly causal: boolean;
  readonly window: readonly [left: number, right: number];
  readonly sinks: number;
  readonly prefix: number;
}

/** i' = i + m - n is the key that stands where query i does. */
export function sees({ causal, window: [left, right], sinks, prefix }: Seen, { n, m, given }: MaskProblem): Sees {
  const ids = given.documents;
  return (i, j, _, batch) => {
    if (ids && ids[batch * n + i] !== ids[batch * n + j]) return false;
    if (j < prefix) return true;
    const own = i + m - n;
    if (causal && j > own) return false;
    if (j < sinks) return true;
    return (left === -1 || j >= own - left) && (right === -1 || j <= own + right);
  };
}

/** First the cap, then the bias, as FlashAttention-2 has it. */
export function modifier(
  { softcap }: { readonly softcap?: number | undefined },
  { n, m }: MaskProblem,
  { alibi_slopes }: { readonly alibi_slopes?: HostTensor },
): Modifier | undefined {
  const slopes = alibi_slopes && toFloat64(alibi_slopes);
  if (softcap === undefined && !slopes) return undefined;
  return {
    value(score, i, j, head) {
      const capped = softcap === undefined ? score : softcap * Math.tanh(score / softcap);
      return slopes ? capped - (slopes[head] as number) * Math.abs(i + m - n - j) : capped;
    },
    slope: (score) => (softcap === undefined ? 1 : 1 - Math.tanh(score / softcap) ** 2),
    ...(slopes && {
      elements: ({ i, j, head }) => [{ input: 'alibi_slopes', index: head, factor: -Math.abs(i + m - n - j) }],
    }),
  };
}
