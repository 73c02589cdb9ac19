/** The kernels of attention: those that another op may join in on (hook.as.ts), as they are without one. */
import { addParts, reduceTile } from './backward/backward.as';
import { BackwardHook } from './backward/hook.as';
import { BACKWARD_BYTES } from './backward/memory.as';
import { addSplit, layOutQueries } from './decode/decode.as';
import { DecodeHook } from './decode/hook.as';
import { DECODE_BYTES } from './decode/memory.as';
import { mergeSplits } from './decode/merge.as';
import { attendTiles } from './forward/forward.as';
import { ForwardHook } from './forward/hook.as';
import { FORWARD_BYTES } from './forward/memory.as';
import { BackwardParams } from './params.generated.as';

export { backwardTables } from './backward/tables.as';
export { packKeysValues } from './forward/pack.as';
export { modifyScores } from './score/program.as';

export const SCRATCH_BYTES: usize = max(max(FORWARD_BYTES, BACKWARD_BYTES), DECODE_BYTES);

export function attention(params: usize, task: i32, scratch: usize): void {
  attendTiles<ForwardHook>(params, task, scratch);
}

export function attentionBackward(params: usize, task: i32, scratch: usize): void {
  addParts<BackwardHook>(params, task, scratch);
}

export function backwardReduce(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  reduceTile(f, task, f.sumsQ, f.gradQ, f.heldQ, <f32>f.problem.scale, scratch);
}

export function decodeQueries(params: usize, task: i32, scratch: usize): void {
  layOutQueries<DecodeHook>(params, task, scratch);
}

export function decode(params: usize, task: i32, scratch: usize): void {
  addSplit<DecodeHook>(params, task, scratch);
}

export function decodeMerge(params: usize, task: i32, scratch: usize): void {
  mergeSplits<DecodeHook>(params, task, scratch);
}
