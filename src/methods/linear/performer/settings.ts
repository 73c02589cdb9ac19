/** The params of `performer`, and what follows from them. */
import * as valibot from 'valibot';
import type { RandomFeatureOptions } from '../../../feature-maps';
import { MOST_FEATURES } from '../../../ops/linear-attention';
import { causal, choice, flag, number, scale, seed, whole } from '../../schema';

export const params = valibot.strictObject({
  features: whole(`random features of a query or key; else d ln d, from 1 to ${MOST_FEATURES}`, {
    least: 1,
    most: MOST_FEATURES,
  }),
  kernel: choice(
    ['softmax', 'relu'],
    'softmax estimates exponentials of scores; relu is a kernel of its own, for SEA',
    'softmax',
  ),
  orthogonal: flag('directions at right angles, which vary less', true),
  seed: seed('of the random directions', 0),
  causal,
  epsilon: number('added to the denominators; features of softmax are at most 1 / sqrt(features)', {
    least: 0,
    preset: 0,
  }),
  scale,
});
export type PerformerParams = valibot.InferOutput<typeof params>;

/** Added to max(w x, 0) with the kernel `relu`, so that no query sees nothing. */
export const FLOOR = 1e-3;

/** How the directions for vectors of d numbers are drawn. */
export function drawOf({ features, orthogonal, seed }: PerformerParams, d: number): RandomFeatureOptions {
  const usual = Math.min(MOST_FEATURES, Math.max(1, Math.floor(d * Math.log(d))));
  return { dimension: d, features: features ?? usual, orthogonal, seed };
}

/** The factors on q and k with which q . k is the score. */
export function factorsOf({ scale }: PerformerParams, d: number): { readonly q: number; readonly k: number } {
  const score = scale ?? 1 / Math.sqrt(d);
  const root = Math.sqrt(Math.abs(score));
  return { q: Math.sign(score) * root, k: root };
}
