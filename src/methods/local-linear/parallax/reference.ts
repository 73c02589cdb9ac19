/** Which keys a query of Parallax sees, and its reference, straight from the meaning of the params. */
import { parallaxAttention, parallaxAttentionBackward } from '../../../ops/parallax/softmax';
import type { HostTensor } from '../../../tensor/host';
import type { HostInputs } from '../../define';

interface Params {
  readonly causal: boolean;
  readonly window?: number | undefined;
  readonly scale?: number | undefined;
}

export function reference(
  { q, r, k, v }: HostInputs<Record<'q' | 'r' | 'k' | 'v', string>>,
  { causal, window, scale = 1 / Math.sqrt(q.shape[3] as number) }: Params,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const [n, m] = [q.shape[1] as number, k.shape[1] as number];
  // i + m - n is the key that stands where query i does.
  const sees = (i: number, j: number) => {
    const behind = i + m - n - j;
    return window === undefined ? !causal || behind >= 0 : behind >= 0 && behind < window;
  };
  const { out } = parallaxAttention({ q, r, k, v }, scale, sees);
  if (!gradOut) return { out };
  const { gradQ, gradR, gradK, gradV } = parallaxAttentionBackward({ q, r, k, v, gradOut }, scale, sees);
  return { out, grad_q: gradQ, grad_r: gradR, grad_k: gradK, grad_v: gradV };
}
