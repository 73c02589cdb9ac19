/**
 * Adaptive token pruning: attention that tells which tokens the class token looks at, and which of them a threshold keeps.
 * Sources: Liu, Wu and Guo 2022, arXiv 2209.13802, by a third party's notes, and the authors' code.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { cast, concat } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { multiply, step, subtract } from '../../../ops/map';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { number } from '../../schema';
import { type PruningInputs, reference } from './reference';
import { scoredAttention } from './scored';

export const adaptiveTokenPruning = defineMethod({
  name: 'adaptive-token-pruning',
  family: 'sparse',
  summary: 'exact attention, and which tokens the class token looks at more than a threshold says',
  paper: '2209.13802',
  inputs: { q: 'b n h d', k: 'b n h d', v: 'b n h e' },
  optional: { policy: 'b n' },
  integers: ['policy'],
  outputs: { out: 'b n h e', score: 'b before', keep: 'b n' },
  params: valibot.strictObject({
    threshold: valibot.pipe(valibot.number(), valibot.description('tokens of a score above it are kept')),
    epsilon: number('with a policy: a share of the weights that all tokens get alike', { least: 0, preset: 1e-6 }),
  }),
  isCausal: () => false,

  reference,

  forward(inputs: PruningInputs<Tensor>, { threshold, epsilon }) {
    const { q, k, v, policy } = inputs;
    checkFloat32(adaptiveTokenPruning.name, { q, k, v }, {});
    checkContiguous({ q, k, v });
    const given = { q: q.shape, k: k.shape, v: v.shape, ...(policy && { policy: policy.shape }) };
    const specs: Record<string, string> = { ...adaptiveTokenPruning.inputs, ...(policy && { policy: 'b n' }) };
    const { b, n } = bindShapes(specs, given) as { b: number; n: number };
    if (n < 2) throw new ParameterError(`q must have the class token and at least one more, got ${n} token`);
    return q.runtime.scope(() => {
      const counts = policy && cast(policy, 'f32');
      const { out, score } = scoredAttention(q, k, v, epsilon, counts);
      const above = step(subtract(score, q.runtime.tensor([threshold], [])));
      const first = q.runtime.tensor(new Float32Array(b).fill(1), [b, 1]);
      const kept = concat([first, counts ? multiply(above, counts.slice(1, 1, n)) : above], 1);
      return { out, score, keep: cast(kept, 'i32') };
    });
  },

  cost({ b, n, h, d, e }) {
    return { flops: b * h * n * (2 * n * (d + e) + 2 * e + 4), bytes: 4 * b * n * h * 2 * (d + e), state: 0 };
  },

  variants: () => [{ threshold: 0.01 }],
  page: () => import('./page'),
});
