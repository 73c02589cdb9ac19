/** TensorFlow.js on its WebAssembly backend: Gaussian kernels by products, and products of these. */
import * as tf from '@tensorflow/tfjs-core';
import { open as openTf } from './tfjs.mjs';

export async function open(setting) {
  return { ...(await openTf(setting)), prepare };
}

function prepare({ op, x, y, v, n, d }) {
  const [left, right] = [x, y].map((data) => tf.tensor2d(data, [n, d]));
  const factors = v && tf.tensor2d(v, [n, v.length / n]);
  const squares = (points) => tf.sum(tf.square(points), 1);
  const gaussian = () => {
    const both = tf.add(tf.expandDims(squares(left), 1), squares(right));
    const distances = tf.sub(both, tf.mul(2, tf.matMul(left, right, false, true)));
    return tf.exp(tf.mul(distances, -0.5 / d));
  };
  const call = op === 'gaussian' ? gaussian : () => tf.matMul(gaussian(), factors);
  let out;
  return {
    run() {
      out?.dispose();
      out = tf.tidy(call);
    },
    result: () => out.data(),
  };
}
