/** TensorFlow.js on its WebAssembly backend. It has no threads in Node. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { prepareWith } from './tfjs-attention.mjs';

export async function open() {
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(join(dirname(main), '/'));
  await tf.setBackend('wasm');
  await tf.ready();
  return { threads: 1, prepare: (problem) => prepareWith(tf, problem) };
}
