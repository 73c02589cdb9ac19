/** onnxruntime-node: native code, the MultiHeadAttention operator. */
import * as ort from 'onnxruntime-node';
import { multiHeadAttention, prepareWith } from './onnx-model.mjs';

export function open({ threads }, operator = multiHeadAttention) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  return { threads, prepare: (problem) => prepareWith(ort, options, operator(problem)) };
}
