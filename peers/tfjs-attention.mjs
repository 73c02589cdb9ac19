/** Attention by TensorFlow.js: matmul, softmax, matmul, over [h, n, d]. */
import { additiveMask, isFull } from './mask.mjs';

/** `finished` is called with each result and resolves when it is computed. */
export function prepareWith(tf, problem, finished = () => {}) {
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
      return finished(out);
    },
    result: () => tf.tidy(() => tf.transpose(out, [1, 0, 2])).data(),
  };
}
