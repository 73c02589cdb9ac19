/** onnxruntime-web on WebAssembly: the Conv operator. */
import * as ort from 'onnxruntime-web';
import { prepareConv } from './conv-onnx.mjs';

export function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareConv(ort, { executionProviders: ['wasm'] }, problem) };
}
