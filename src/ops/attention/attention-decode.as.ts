/** The kernels of attention of few queries, as they are without another op. */
import { addSplit, layOutQueries } from './decode/decode.as';
import { DecodeHook } from './decode/hook.as';
import { mergeSplits } from './decode/merge.as';

export { DECODE_BYTES as SCRATCH_BYTES } from './decode/memory.as';

export function decodeQueries(params: usize, task: i32, scratch: usize): void {
  layOutQueries<DecodeHook>(params, task, scratch);
}

export function decode(params: usize, task: i32, scratch: usize): void {
  addSplit<DecodeHook>(params, task, scratch);
}

export function decodeMerge(params: usize, task: i32, scratch: usize): void {
  mergeSplits<DecodeHook>(params, task, scratch);
}
