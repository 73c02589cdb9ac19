/** jax-js on its WebAssembly backend: nn.dotProductAttention, compiled. It has no threads in Node. */
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np } from '@jax-js/jax';
import { isCausal, isFull } from './mask.mjs';

export async function open() {
  await init('wasm');
  defaultDevice('wasm');
  return { threads: 1, prepare };
}

function prepare(problem) {
  const { n, h, d, left, right } = problem;
  const [q, k, v] = [problem.q, problem.k, problem.v].map((data) => np.array(data, { shape: [n, h, d] }));
  const options = isFull(problem)
    ? {}
    : isCausal(problem)
      ? { isCausal: true }
      : { localWindowSize: [left === -1 ? n : left, right === -1 ? n : right] };
  const attention = jit((a, b, c) => nn.dotProductAttention(a, b, c, options));
  let out;
  return {
    async run() {
      out?.dispose();
      out = await blockUntilReady(attention(q.ref, k.ref, v.ref));
    },
    result: () => out.ref.data(),
  };
}
