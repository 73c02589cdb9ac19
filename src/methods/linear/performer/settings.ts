/** What follows from the params of `performer`. */
import type { RandomFeatureOptions } from '../../../feature-maps';
import { MOST_FEATURES } from '../../../ops/linear-attention';

/** What products of features estimate: exp(q . k), or a kernel of its own that is cheaper and less precise. */
export const KERNELS = ['softmax', 'relu'] as const;

export interface PerformerParams {
  readonly kernel: (typeof KERNELS)[number];
  readonly features?: number | undefined;
  readonly orthogonal: boolean;
  readonly seed: number;
  readonly causal: boolean;
  readonly epsilon: number;
  readonly scale?: number | undefined;
}

/** Added to max(w x, 0) with the kernel `relu`, so that no query sees nothing. */
export const FLOOR = 1e-3;

/** How the directions for vectors of d numbers are drawn. */
export function drawOf({ features, orthogonal, seed }: PerformerParams, d: number): RandomFeatureOptions {
  const usual = Math.min(MOST_FEATURES, Math.max(1, Math.floor(d * Math.log(d))));
  return { dimension: d, features: features ?? usual, orthogonal, seed };
}

/** By what q and k are multiplied, so that q . k becomes the score. */
export function factorsOf({ scale }: PerformerParams, d: number): { readonly q: number; readonly k: number } {
  const score = scale ?? 1 / Math.sqrt(d);
  const root = Math.sqrt(Math.abs(score));
  return { q: Math.sign(score) * root, k: root };
}
