/** onnxruntime-web, WebAssembly: the GroupQueryAttention operator. */
import { groupQueryAttention } from './onnx-model.mjs';
import { open as openWith } from './onnxruntime-web.mjs';

export function open(settings) {
  return openWith(settings, groupQueryAttention);
}
