import type { Tensor } from '../../tensor/tensor';
import type { AttentionBackwardCall, AttentionCall } from '../attention/call';
import type { CachedCall } from '../attention/decode/cached';

/** r, as q, whose products with the keys tilt the weights p of attention to p (1 + level - r k^T). */
interface Tilt {
  readonly r: Tensor;
}

/** -> also mean [b,n,h,e], p v, and level [b,n,h], the mean of r k^T under p: f32. Has no score. */
export interface ParallaxCall extends AttentionCall, Tilt {
  readonly mean: Tensor;
  readonly level: Tensor;
}

export interface CachedParallaxCall extends CachedCall, Tilt {}

/** -> also gradR. */
export interface ParallaxBackwardCall extends AttentionBackwardCall, Tilt {
  readonly mean: Tensor;
  readonly level: Tensor;
  readonly gradR: Tensor;
}
