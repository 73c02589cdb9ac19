/** TensorFlow.js on its WebAssembly backend: conv2d, and depthwiseConv2d where each channel has its own kernel. */
import * as tf from '@tensorflow/tfjs-core';
import { open as openTf } from './tfjs.mjs';

export async function open(setting) {
  return { ...(await openTf(setting)), prepare };
}

function prepare({ x, weight, rows, columns, channels, outputs, kernel, stride, groups }) {
  const pictures = tf.tensor4d(x, [1, rows, columns, channels]);
  const isByChannel = groups === channels && groups > 1;
  const filters = tf.tidy(() => {
    const given = tf.tensor4d(weight, [outputs, channels / groups, kernel, kernel]);
    return tf.transpose(given, isByChannel ? [2, 3, 0, 1] : [2, 3, 1, 0]);
  });
  const side = (kernel - 1) / 2;
  let out;
  return {
    run() {
      out?.dispose();
      out = isByChannel
        ? tf.depthwiseConv2d(pictures, filters, stride, stride === 1 ? 'same' : side)
        : tf.conv2d(pictures, filters, stride, side);
    },
    result: () => out.data(),
  };
}
