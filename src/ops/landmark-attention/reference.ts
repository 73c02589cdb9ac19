/** A call of grouped softmax, and of its gradients, in float64. */
import type { Host } from '../../runtime/op';
import type { LandmarkBackwardCall, LandmarkCall } from './call';
import { groupedSoftmax } from './softmax';

export function forward({ q, k, v, out, lse, block, scale }: LandmarkCall, { tensor, store }: Host): void {
  const result = groupedSoftmax({ q: tensor(q), k: tensor(k), v: tensor(v) }, { block, scale });
  store(out, result.out.data);
  store(lse, result.lse.data);
}

export function backward(call: LandmarkBackwardCall, { tensor, store }: Host): void {
  const { q, k, v, gradOut, gradQ, gradK, gradV, block, scale } = call;
  const result = groupedSoftmax({ q: tensor(q), k: tensor(k), v: tensor(v) }, { block, scale }, tensor(gradOut));
  store(gradQ, result.gradQ.data);
  store(gradK, result.gradK.data);
  store(gradV, result.gradV.data);
}
