/** The kernels of grouped softmax: attention's, for the classes by which it joins in. */
import { addParts, reduceTile } from '../attention/backward/backward.as';
import { attendTiles } from '../attention/forward/forward.as';
import { BackwardParams } from '../attention/params.generated.as';
import { BACKWARD_BYTES, BackwardGroups } from './backward.as';
import { FORWARD_BYTES, ForwardGroups } from './forward.as';

export { packKeysValues } from '../attention/forward/pack.as';

export const SCRATCH_BYTES: usize = max(FORWARD_BYTES, BACKWARD_BYTES);

export function attention(params: usize, task: i32, scratch: usize): void {
  attendTiles<ForwardGroups>(params, task, scratch);
}

export function attentionBackward(params: usize, task: i32, scratch: usize): void {
  addParts<BackwardGroups>(params, task, scratch);
}

export function backwardReduce(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  reduceTile(f, task, f.sumsQ, f.gradQ, f.heldQ, <f32>f.problem.scale, scratch);
}
