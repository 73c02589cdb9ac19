/** The build of onnxruntime-web whose WebGPU kernels are those of its native code: the MultiHeadAttention operator. */
import * as ort from 'onnxruntime-web/webgpu';
import { multiHeadAttention } from './onnx-model.mjs';
import { prepareOnGpu } from './onnx-webgpu.mjs';

export function open() {
  return { prepare: (problem) => prepareOnGpu(ort, multiHeadAttention(problem)) };
}
