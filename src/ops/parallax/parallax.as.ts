/** The kernels of Parallax: attention's, for the classes by which it joins in. */
import { addParts, reduceTile } from '../attention/backward/backward.as';
import { addSplit, layOutQueries } from '../attention/decode/decode.as';
import { mergeSplits } from '../attention/decode/merge.as';
import { attendTiles } from '../attention/forward/forward.as';
import { BackwardParams } from '../attention/params.generated.as';
import { BACKWARD_BYTES, BackwardTilt, own } from './backward.as';
import { DECODE_BYTES, DecodeTilt } from './decode.as';
import { FORWARD_BYTES, ForwardTilt } from './forward.as';

export { packKeysValues } from '../attention/forward/pack.as';

export const SCRATCH_BYTES: usize = max(max(FORWARD_BYTES, BACKWARD_BYTES), DECODE_BYTES);

export function attention(params: usize, task: i32, scratch: usize): void {
  attendTiles<ForwardTilt>(params, task, scratch);
}

export function attentionBackward(params: usize, task: i32, scratch: usize): void {
  addParts<BackwardTilt>(params, task, scratch);
}

export function backwardReduce(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  reduceTile(f, task, f.sumsQ, f.gradQ, f.heldQ, 1, scratch);
  reduceTile(f, task, own(f).sumsR, own(f).gradR, own(f).heldR, 1, scratch);
}

export function decodeQueries(params: usize, task: i32, scratch: usize): void {
  layOutQueries<DecodeTilt>(params, task, scratch);
}

export function decode(params: usize, task: i32, scratch: usize): void {
  addSplit<DecodeTilt>(params, task, scratch);
}

export function decodeMerge(params: usize, task: i32, scratch: usize): void {
  mergeSplits<DecodeTilt>(params, task, scratch);
}
