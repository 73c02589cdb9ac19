/** jax-js, nn.dotProductAttention, compiled: on its WebAssembly backend, which has no threads in Node, or on WebGPU. */
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np } from '@jax-js/jax';
import { isCausal, isFull } from './mask.mjs';

export async function open({ backend = 'wasm' }) {
  const ready = await init(backend);
  if (!ready.includes(backend)) throw new Error(`jax-js finds no ${backend} here`);
  defaultDevice(backend);
  const threads = globalThis.process ? 1 : navigator.hardwareConcurrency;
  return { ...(backend === 'wasm' && { threads }), prepare: (problem) => prepare(problem, backend) };
}

function prepare(problem, backend) {
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
      out = attention(q.ref, k.ref, v.ref);
      if (backend === 'webgpu') await out.ref.slice(0, 0, [0, 1]).data();
      else await blockUntilReady(out);
    },
    result: () => out.ref.data(),
  };
}
