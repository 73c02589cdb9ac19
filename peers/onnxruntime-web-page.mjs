/** onnxruntime-web in a page, on WebAssembly or WebGPU: the MultiHeadAttention operator. */
import { multiHeadAttention, prepareWith } from './onnx-model.mjs';
import { prepareOnGpu } from './onnx-webgpu.mjs';

export async function open({ threads, backend }, operator = multiHeadAttention) {
  if (backend === 'webgpu') {
    const ort = await import('onnxruntime-web');
    return { prepare: (problem) => prepareOnGpu(ort, operator(problem, { biasOfEachHead: true })) };
  }
  const ort = await import('onnxruntime-web/wasm');
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareWith(ort, { executionProviders: ['wasm'] }, operator(problem)) };
}
