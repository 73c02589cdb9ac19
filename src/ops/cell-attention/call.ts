import type { Tensor } from '../../tensor/tensor';

export const POOLS = ['query', 'head', 'batch', 'causal-batch'] as const;
export type Pool = (typeof POOLS)[number];

/** How rows of the estimate, [b, h, n] of `width` cells each, are pooled. */
export interface Pools {
  /** Pools of a batch, and from each to the next in rows. */
  readonly pools: number;
  readonly poolStep: number;
  /** Rows of a pool, and from each to the next. */
  readonly rows: number;
  readonly rowStep: number;
  /** Cells that a pool keeps; `causal-batch`: if its query saw a single key. */
  readonly budget: number;
}

/**
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e], estimate [b,h,n,w], f32, contiguous -> out [b,n,h,e], lse [b,n,h], and which cells each row
 * of the estimate keeps: those above bounds [b,h,n] and, of those equal to it, the first ties [b,h,n].
 */
export interface CellCall extends Pools {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly estimate: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly bounds: Tensor;
  readonly ties: Tensor;
  readonly causal: boolean;
  readonly scale: number;
}

/** What the forward pass gave, and gradOut [b,n,h,e] -> gradients of the shapes of q, k and v. */
export interface CellBackwardCall extends Omit<CellCall, keyof Pools> {
  readonly gradOut: Tensor;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
}
