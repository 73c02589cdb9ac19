import type { Mask } from '../../masks/mask';
import type { Score } from '../../scores/score';
import type { Tensor } from '../../tensor/tensor';

/** q [b,n,h,d], k [b,m,g,d], v [b,m,g,e] of any strides -> out [b,n,h,e], lse [b,n,h] f32 (natural log). */
export interface AttentionCall {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly scale: number;
  readonly mask: Mask;
  /** What changes the scores before the softmax. */
  readonly score?: Score | undefined;
}

/**
 * What `attention` returned for q, k and v, and the gradients of a loss with respect to that: gradOut [b,n,h,e] of any
 * strides, gradLse [b,n,h] f32, contiguous -> the gradients gradQ, gradK and gradV, of the shapes of q, k and v; and, if
 * wanted, gradTables with respect to the elements of the arrays that `score` captured, f32, one array after the other.
 */
export interface AttentionBackwardCall extends AttentionCall {
  readonly gradOut: Tensor;
  readonly gradLse?: Tensor | undefined;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradTables?: Tensor | undefined;
}
