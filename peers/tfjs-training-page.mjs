/** A training step by TensorFlow.js in a page. */
import { prepareWith } from './tfjs-decoder.mjs';
import { open as openAttention } from './tfjs-page.mjs';

export async function open(settings) {
  return { ...(await openAttention(settings)), prepare: (problem) => prepareWith(globalThis.tf, problem) };
}
