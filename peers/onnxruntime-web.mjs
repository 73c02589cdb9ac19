/** onnxruntime-web on WebAssembly: the MultiHeadAttention operator. */
import * as ort from 'onnxruntime-web';
import { prepareWith } from './onnx-model.mjs';

export function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareWith(ort, { executionProviders: ['wasm'] }, problem) };
}
