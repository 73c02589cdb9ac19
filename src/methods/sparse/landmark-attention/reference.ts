import { groupedSoftmax } from '../../../ops/landmark-attention/softmax';
import type { HostTensor } from '../../../tensor/host';

export interface LandmarkInputs<T> {
  /** [b, n, h, d]. */
  readonly q: T;
  readonly k: T;
  readonly v: T;
  /** The key of a context-miss token for each key head, [g, d], and whether it stands before the block of each token, [n]. */
  readonly miss?: T | undefined;
  readonly gated?: T | undefined;
}

export interface LandmarkParams {
  readonly block: number;
  readonly topBlocks?: number | undefined;
  readonly scale?: number | undefined;
}

/** Softmax within each earlier block, times the weight of its landmark among the tokens of the query's own block. */
export function reference(
  inputs: LandmarkInputs<HostTensor>,
  { scale = 1 / Math.sqrt(inputs.q.shape[3] as number), ...params }: LandmarkParams,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const { out, gradQ, gradK, gradV, gradMiss } = groupedSoftmax(inputs, { ...params, scale }, gradOut);
  if (!gradOut) return { out };
  return { out, grad_q: gradQ, grad_k: gradK, grad_v: gradV, ...(inputs.miss && { grad_miss: gradMiss }) };
}
