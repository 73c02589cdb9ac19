/** onnxruntime-node: native code: networks on pictures. */
import * as ort from 'onnxruntime-node';
import { prepareNetwork } from './vision-onnx.mjs';

export function open({ threads }) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  return { threads, prepare: (problem) => prepareNetwork(ort, options, problem) };
}
