/** Plans of Parallax's calls: attention's, for kernels that Parallax has joined in on, with its params behind attention's. */

import { contiguous, type Machine, operand, type Plan } from '../../runtime/cpu/plan';
import type { Steps } from '../../runtime/turns';
import { heldAt, heldBytes, planAttentionBackward } from '../attention/backward/cpu';
import { extended } from '../attention/cpu';
import { planCached } from '../attention/decode/cached';
import { planAttention } from '../attention/forward/cpu';
import type { CachedParallaxCall, ParallaxBackwardCall, ParallaxCall } from './call';
import { Backward, Forward } from './params.generated';

/** Decoding takes rows in groups of four, two of which are r's. */
const QUERIES_OF_GROUP = 2;

export function* planParallax(call: ParallaxCall, machine: Machine): Steps<Plan> {
  const plan = yield* planAttention(call, machine, { queriesOfGroup: QUERIES_OF_GROUP });
  return extended(plan, 2, () => forwardParams(call));
}

export function* planCachedParallax(call: CachedParallaxCall, machine: Machine): Steps<Plan> {
  const plan = yield* planCached(call, machine, QUERIES_OF_GROUP);
  return extended(plan, 1, () => forwardParams(call));
}

export function* planParallaxBackward(call: ParallaxBackwardCall, machine: Machine): Steps<Plan> {
  const { q, v, r, mean, level, gradR } = call;
  const plan = yield* planAttentionBackward(call, machine);
  const [d, e] = [q.shape[3] as number, v.shape[3] as number];
  const more = (12 * d + 4 * e) / (6 * d + 4 * e);
  const bytes = { ...plan.bytes, sumsR: plan.bytes?.sumsQ as number, heldR: heldBytes(gradR) };
  return extended({ ...plan, bytes }, more, ({ sumsR, heldR }) =>
    Backward({
      r: operand(r),
      mean: operand(mean),
      level,
      gradR: contiguous(gradR),
      sumsR: sumsR as number,
      heldR: heldAt(gradR, heldR as number),
    }),
  );
}

const forwardParams = ({ r, mean, level }: Pick<ParallaxCall, 'r'> & Partial<ParallaxCall>) =>
  Forward({ r: operand(r), mean, level });
