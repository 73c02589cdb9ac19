/** The kernels of attention's backward pass, as they are without another op. */
import { addParts, reduceTile } from './backward/backward.as';
import { BackwardHook } from './backward/hook.as';
import { BackwardParams } from './params.generated.as';

export { BACKWARD_BYTES as SCRATCH_BYTES } from './backward/memory.as';
export { backwardTables } from './backward/tables.as';

export function attentionBackward(params: usize, task: i32, scratch: usize): void {
  addParts<BackwardHook>(params, task, scratch);
}

export function backwardReduce(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  reduceTile(f, task, f.sumsQ, f.gradQ, f.heldQ, <f32>f.problem.scale, scratch);
}
