/** onnxruntime-node: native code, the Conv operator. */
import * as ort from 'onnxruntime-node';
import { prepareConv } from './conv-onnx.mjs';

export function open({ threads }) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  return { threads, prepare: (problem) => prepareConv(ort, options, problem) };
}
