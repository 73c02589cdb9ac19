/** The kernels of attention's forward pass: those that another op may join in on (hook.as.ts), as they are without one. */
import { attendTiles } from './forward/forward.as';
import { ForwardHook } from './forward/hook.as';

export { FORWARD_BYTES as SCRATCH_BYTES } from './forward/memory.as';
export { packKeysValues } from './forward/pack.as';
export { modifyScores } from './score/program.as';

export function attention(params: usize, task: i32, scratch: usize): void {
  attendTiles<ForwardHook>(params, task, scratch);
}
