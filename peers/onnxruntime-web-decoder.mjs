/** onnxruntime-web on WebAssembly: prompts and steps of a decoder. */
import * as ort from 'onnxruntime-web';
import { prepareDecoder } from './onnx-decoder.mjs';

export function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  const load = (_, bytes) => ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ['wasm'] });
  return { threads, prepare: (problem) => prepareDecoder(ort, load, problem) };
}
