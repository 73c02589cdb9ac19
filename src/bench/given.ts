import { UnsupportedError } from '../errors';
import type { Band } from '../masks/band';
import { hostTensor } from '../tensor/host';
import type { Given, Task } from './problem';

/** The tensors and settings that peers get: for attention q, k and v [n, h, d], and the mask as a band. */
export function givenOf({ problem, inputs }: Task): Given {
  const { mask, n, h, g = h, d, operation } = problem;
  if (operation?.given) return operation.given(problem);
  if (!('left' in mask && 'right' in mask) || g !== h || operation)
    throw new UnsupportedError(`peers are asked for forward passes of bands on equal heads only, got ${mask.name}`);
  const { left, right } = mask as Band;
  const tensor = (data: Float32Array) => hostTensor(data, [n, h, d]);
  const tensors = { q: tensor(inputs.q), k: tensor(inputs.k), v: tensor(inputs.v) };
  return { tensors, settings: { n, h, d, left, right } };
}
