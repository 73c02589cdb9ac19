/** onnxruntime-web on WebAssembly: the MultiHeadAttention operator. */
import * as ort from 'onnxruntime-web';
import { multiHeadAttention, prepareWith } from './onnx-model.mjs';

export function open({ threads }, operator = multiHeadAttention) {
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareWith(ort, { executionProviders: ['wasm'] }, operator(problem)) };
}
