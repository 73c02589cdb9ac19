/**
 * TensorFlow.js on its WebAssembly backend: conv2d and conv2dTranspose, and depthwiseConv2d where each channel has its own kernel,
 * for which it has no gradient.
 */
import * as tf from '@tensorflow/tfjs-core';
import { open as openTf } from './tfjs.mjs';

export async function open(setting) {
  return { ...(await openTf(setting)), prepare };
}

function prepare({
  part,
  x,
  weight,
  gradOut,
  rows,
  columns,
  channels,
  outputs,
  kernel,
  stride,
  groups,
  height,
  width,
}) {
  const extents = [1, rows, columns, channels];
  const given = part === 'out' ? tf.tensor4d(x, extents) : tf.tensor4d(gradOut, [1, height, width, outputs]);
  const isByChannel = groups === channels && groups > 1;
  const filters = tf.tidy(() => {
    const kernels = tf.tensor4d(weight, [outputs, channels / groups, kernel, kernel]);
    return tf.transpose(kernels, isByChannel ? [2, 3, 0, 1] : [2, 3, 1, 0]);
  });
  const side = (kernel - 1) / 2;
  let out;
  return {
    run() {
      out?.dispose();
      if (part === 'x') out = tf.conv2dTranspose(given, filters, extents, stride, side);
      else if (isByChannel) out = tf.depthwiseConv2d(given, filters, stride, stride === 1 ? 'same' : side);
      else out = tf.conv2d(given, filters, stride, side);
    },
    result: () => out.data(),
  };
}
