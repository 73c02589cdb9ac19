/** onnxruntime-web in a page, on WebAssembly or WebGPU: the MultiHeadAttention operator. */
import { multiHeadAttention, prepareWith } from './onnx-model.mjs';
import { prepareOnGpu } from './onnx-webgpu.mjs';

export async function open({ threads, backend }, operator = multiHeadAttention) {
  const ort = await import(`onnxruntime-web/${backend}`);
  if (backend === 'webgpu') return { prepare: (problem) => prepareOnGpu(ort, operator(problem)) };
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareWith(ort, { executionProviders: ['wasm'] }, operator(problem)) };
}
