/** onnxruntime-node: native code, products of rows and weights. */
import * as ort from 'onnxruntime-node';
import { prepareProducts } from './onnx-products.mjs';

export function open({ threads }) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  return { threads, prepare: (problem) => prepareProducts(ort, options, problem) };
}
