/** onnxruntime-node, native code: the GroupQueryAttention operator. */
import { groupQueryAttention } from './onnx-model.mjs';
import { open as openWith } from './onnxruntime-node.mjs';

export function open(settings) {
  return openWith(settings, groupQueryAttention);
}
