/** TensorFlow.js in a page, on WebAssembly or WebGPU. Its builds for pages are scripts that share the global `tf`. */
import '@tensorflow/tfjs-core';
import { prepareWith } from './tfjs-attention.mjs';

export async function open({ threads, backend }) {
  await import(`@tensorflow/tfjs-backend-${backend}`);
  const { tf } = globalThis;
  if (backend === 'wasm') {
    tf.wasm.setWasmPaths(new URL('.', import.meta.resolve('@tensorflow/tfjs-backend-wasm')).href);
    tf.wasm.setThreadsCount(threads);
  }
  if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js finds no ${backend} here`);
  await tf.ready();
  if (backend === 'wasm') return { threads: tf.wasm.getThreadsCount(), prepare: (problem) => prepareWith(tf, problem) };
  return { prepare: (problem) => prepareWith(tf, problem, (out) => readOne(tf, out)) };
}

async function readOne(tf, out) {
  const one = tf.slice(out, [0, 0, 0], [1, 1, 1]);
  await one.data();
  one.dispose();
}
