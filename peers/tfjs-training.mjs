/** A training step by TensorFlow.js in Node. */
import * as tf from '@tensorflow/tfjs-core';
import { open as openAttention } from './tfjs.mjs';
import { prepareWith } from './tfjs-decoder.mjs';

export async function open(settings) {
  return { ...(await openAttention(settings)), prepare: (problem) => prepareWith(tf, problem) };
}
