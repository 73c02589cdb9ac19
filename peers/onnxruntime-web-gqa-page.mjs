/** onnxruntime-web in a page: the GroupQueryAttention operator. */
import { groupQueryAttention } from './onnx-model.mjs';
import { open as openWith } from './onnxruntime-web-page.mjs';

export function open(settings) {
  return openWith(settings, groupQueryAttention);
}
