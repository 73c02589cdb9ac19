/** Attention under any mask, and its gradients, by jax-js: nn.dotProductAttention, compiled. */
import { blockUntilReady, jit, nn, numpy as np, valueAndGrad } from '@jax-js/jax';
import { open as openAttention } from './jax-js.mjs';
import { denseMask, headsOfMask, isCausal, isFull } from './mask.mjs';

export async function open(settings) {
  return { ...(await openAttention(settings)), prepare };
}

function prepare(problem) {
  const { n, h, g, d, pass, gradOut } = problem;
  const array = (data, heads) => np.array(data, { shape: [n, heads, d] });
  const [q, k, v] = [array(problem.q, h), array(problem.k, g), array(problem.v, g)];
  const mask = isFull(problem) || isCausal(problem) ? undefined : maskOf(problem);
  const attend = (q, k, v, seen) =>
    nn.dotProductAttention(q, k, v, { isCausal: isCausal(problem), ...(mask && { mask: seen }) });
  const given = [q, k, v, ...(mask ? [mask] : [])];
  const refs = () => given.map((each) => each.ref);
  if (pass === 'forward') {
    const call = jit(attend);
    return callOf(() => [call(...refs())]);
  }
  const target = array(gradOut, h);
  const loss = (q, k, v, target, seen) => np.sum(attend(q, k, v, seen).mul(target));
  const call = jit(valueAndGrad(loss, { argnums: [0, 1, 2] }));
  return callOf(() => {
    const [q, k, v, ...seen] = refs();
    const [value, gradients] = call(q, k, v, target.ref, ...seen);
    value.dispose();
    return gradients;
  });
}

function callOf(compute) {
  let results = [];
  return {
    async run() {
      for (const each of results) each.dispose();
      results = compute();
      await blockUntilReady(results);
    },
    async result() {
      const all = await Promise.all(results.map((each) => each.ref.data()));
      const joined = new Float32Array(all.reduce((length, each) => length + each.length, 0));
      let at = 0;
      for (const each of all) {
        joined.set(each, at);
        at += each.length;
      }
      return joined;
    },
  };
}

/** Query heads that share keys share a mask. */
function maskOf(problem) {
  const { n, h } = problem;
  const heads = headsOfMask(problem);
  const mask = np.array(denseMask(problem, Float32Array, 1, 0), { shape: [heads, n, n] }).greater(0.5);
  return heads === 1 || heads === h ? mask : np.repeat(mask, h / heads, 0);
}
