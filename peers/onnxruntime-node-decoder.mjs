/** onnxruntime-node: native code, prompts and steps of a decoder. */
import * as ort from 'onnxruntime-node';
import { prepareDecoder } from './onnx-decoder.mjs';

export function open({ threads }) {
  const options = { executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1 };
  const load = async (path, bytes, write) => {
    write(bytes);
    return ort.InferenceSession.create(path, options);
  };
  return { threads, prepare: (problem) => prepareDecoder(ort, load, problem) };
}
