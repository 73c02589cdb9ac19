/** onnxruntime-web on WebAssembly: products of rows and weights. */
import * as ort from 'onnxruntime-web';
import { prepareProducts } from './onnx-products.mjs';

export function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  return { threads, prepare: (problem) => prepareProducts(ort, { executionProviders: ['wasm'] }, problem) };
}
