/** A call of Parallax, and of its gradients, in float64. */

import type { Host } from '../../runtime/op';
import { eachCachedRow, seesOf } from '../attention/reference';
import type { CachedParallaxCall, ParallaxBackwardCall, ParallaxCall } from './call';
import { parallaxAttention, parallaxAttentionBackward } from './softmax';

export function forward(call: ParallaxCall, { tensor, store }: Host): void {
  const { q, r, k, v, out, lse, mean, level, scale, mask } = call;
  const inputs = { q: tensor(q), r: tensor(r), k: tensor(k), v: tensor(v) };
  const result = parallaxAttention(inputs, scale, seesOf(mask, q, k));
  store(out, result.out.data);
  store(lse, result.lse.data);
  store(mean, result.mean.data);
  store(level, result.level.data);
}

export function cached({ scale, r, ...call }: CachedParallaxCall, host: Host): void {
  eachCachedRow(call, host, ({ sees, queriesOf, ...inputs }) =>
    parallaxAttention({ ...inputs, r: queriesOf(r) }, scale, sees),
  );
}

export function backward(call: ParallaxBackwardCall, { tensor, store }: Host): void {
  const { q, r, k, v, gradOut, gradLse, gradQ, gradR, gradK, gradV, scale, mask } = call;
  const inputs = { q: tensor(q), r: tensor(r), k: tensor(k), v: tensor(v), gradOut: tensor(gradOut) };
  const given = { ...inputs, ...(gradLse && { gradLse: tensor(gradLse) }) };
  const result = parallaxAttentionBackward(given, scale, seesOf(mask, q, k));
  store(gradQ, result.gradQ.data);
  store(gradR, result.gradR.data);
  store(gradK, result.gradK.data);
  store(gradV, result.gradV.data);
}
