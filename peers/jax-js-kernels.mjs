/** jax-js on its WebAssembly backend: Gaussian kernels by products, factors and systems, compiled. */
import { blockUntilReady, defaultDevice, init, jit, lax, numpy as np } from '@jax-js/jax';

export async function open() {
  await init('wasm');
  defaultDevice('wasm');
  return { threads: 1, prepare };
}

function prepare({ op, n, d, ...data }) {
  const names = ['x', 'y', 'v', 'a', 'b'].filter((name) => data[name]);
  const inputs = names.map((name) => np.array(data[name], { shape: [n, data[name].length / n] }));
  // It compiles no triangular solves.
  const call = op === 'solve' ? functionOf(op, n, d) : jit(functionOf(op, n, d));
  let out;
  return {
    async run() {
      out?.dispose();
      out = call(...inputs.map((each) => each.ref));
      await blockUntilReady(out);
    },
    result: async () => out.ref.data(),
  };
}

function functionOf(op, n, d) {
  const squares = (points) => np.sum(np.square(points), 1);
  const gaussian = (x, y) => {
    const both = np.add(np.reshape(squares(x.ref), [n, 1]), squares(y.ref));
    const distances = both.sub(np.matmul(x, np.transpose(y)).mul(2));
    return np.exp(distances.mul(-0.5 / d));
  };
  const found = {
    gaussian,
    'gaussian-product': (x, y, v) => np.matmul(gaussian(x, y), v),
    cholesky: (a) => lax.linalg.cholesky(a),
    solve: (a, b) => {
      const factor = lax.linalg.cholesky(a);
      const half = lax.linalg.triangularSolve(factor.ref, b, { leftSide: true, lower: true });
      return lax.linalg.triangularSolve(factor, half, { leftSide: true, lower: true, transposeA: true });
    },
  }[op];
  if (!found) throw new Error(`it has no ${op}`);
  return found;
}
