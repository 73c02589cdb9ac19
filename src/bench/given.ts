/** What peers are given. */
import { UnsupportedError } from '../errors';
import type { Band } from '../masks/band';
import { type HostTensor, hostTensor } from '../tensor/host';
import type { Task } from './contender';

export interface Given {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  /** What they say beside these, as JSON holds it. */
  readonly settings: object;
}

/** The tensors of a problem, and what a peer is told about it: for attention q, k and v [n, h, d], and its mask as a band. */
export function givenOf({ problem, inputs }: Task): Given {
  const { mask, n, h, g = h, d, operation } = problem;
  if (operation?.given) return operation.given(problem);
  if (!('left' in mask && 'right' in mask) || g !== h || operation)
    throw new UnsupportedError(`peers are asked for forward passes of bands on equal heads only, got ${mask.name}`);
  const { left, right } = mask as Band;
  const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((data) => hostTensor(data, [n, h, d])) as [
    HostTensor,
    HostTensor,
    HostTensor,
  ];
  return { tensors: { q, k, v }, settings: { n, h, d, left, right } };
}
