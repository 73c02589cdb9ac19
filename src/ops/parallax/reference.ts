/** A call of Parallax, and of its gradients, in float64. */

import type { Host } from '../../runtime/op';
import type { CachedCall } from '../attention/cached';
import type { AttentionBackwardCall, AttentionCall, Probe } from '../attention/call';
import { eachCachedRow, seesOf } from '../attention/reference';
import { parallaxAttention, parallaxAttentionBackward } from './softmax';

export function forward({ q, k, v, out, lse, scale, mask, probe }: AttentionCall, { tensor, store }: Host): void {
  const { r, mean, level } = probe as Probe;
  const inputs = { q: tensor(q), r: tensor(r), k: tensor(k), v: tensor(v) };
  const result = parallaxAttention(inputs, scale, seesOf(mask, q, k));
  store(out, result.out.data);
  store(lse, result.lse.data);
  if (mean) store(mean, result.mean.data);
  if (level) store(level, result.level.data);
}

export function cached({ scale, probe, ...call }: CachedCall, host: Host): void {
  eachCachedRow(call, host, ({ sees, queriesOf, ...inputs }) =>
    parallaxAttention({ ...inputs, r: queriesOf((probe as Probe).r) }, scale, sees),
  );
}

export function backward(call: AttentionBackwardCall, { tensor, store }: Host): void {
  const { q, k, v, gradOut, gradLse, gradQ, gradK, gradV, scale, mask, probe } = call;
  const { r, gradR } = probe as NonNullable<typeof probe>;
  const inputs = { q: tensor(q), r: tensor(r), k: tensor(k), v: tensor(v), gradOut: tensor(gradOut) };
  const given = { ...inputs, ...(gradLse && { gradLse: tensor(gradLse) }) };
  const result = parallaxAttentionBackward(given, scale, seesOf(mask, q, k));
  store(gradQ, result.gradQ.data);
  store(gradR, result.gradR.data);
  store(gradK, result.gradK.data);
  store(gradV, result.gradV.data);
}
