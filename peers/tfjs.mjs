/** TensorFlow.js on its WebAssembly backend: matmul, softmax, matmul, over [h, n, d]. It has no threads in Node. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { additiveMask, isFull } from './mask.mjs';

export async function open() {
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(join(dirname(main), '/'));
  await tf.setBackend('wasm');
  await tf.ready();
  return { threads: 1, prepare };
}

function prepare(problem) {
  const { n, h, d } = problem;
  const headsFirst = (data) => tf.tidy(() => tf.transpose(tf.tensor3d(data, [n, h, d]), [1, 0, 2]));
  const [q, k, v] = [problem.q, problem.k, problem.v].map(headsFirst);
  const mask = isFull(problem) ? undefined : tf.tensor2d(additiveMask(problem), [n, n]);
  const scale = tf.scalar(1 / Math.sqrt(d));
  let out;
  return {
    run() {
      out?.dispose();
      out = tf.tidy(() => {
        const scores = tf.mul(tf.matMul(q, k, false, true), scale);
        return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v);
      });
    },
    result: () => tf.tidy(() => tf.transpose(out, [1, 0, 2])).data(),
  };
}
