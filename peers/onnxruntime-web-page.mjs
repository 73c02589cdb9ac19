/** onnxruntime-web in a page, on WebAssembly or WebGPU: the MultiHeadAttention operator. */
import { multiHeadAttention, prepareWith } from './onnx-model.mjs';
import { prepareOnGpu } from './onnx-webgpu.mjs';

export async function open({ threads, backend }, operator = multiHeadAttention) {
  if (backend === 'webgpu') {
    const ort = await import('onnxruntime-web');
    // These kernels take no notice of MultiHeadAttention's attribute for causal attention.
    return { prepare: (problem) => prepareOnGpu(ort, operator(problem, { heedsCausal: false })) };
  }
  const ort = await import('onnxruntime-web/wasm');
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareWith(ort, { executionProviders: ['wasm'] }, operator(problem)) };
}
