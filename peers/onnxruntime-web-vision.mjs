/** onnxruntime-web on WebAssembly: networks on pictures. */
import * as ort from 'onnxruntime-web';
import { prepareNetwork } from './vision-onnx.mjs';

export function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareNetwork(ort, { executionProviders: ['wasm'] }, problem) };
}
