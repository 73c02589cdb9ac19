/**
 * Attention under any mask by TensorFlow.js, matmul, softmax, matmul, over [g, h / g, n, d]; and its gradients, written out,
 * since its builds register none.
 */
import * as tf from '@tensorflow/tfjs-core';
import { additiveMask, headsOfMask, isFull } from './mask.mjs';
import { open as openTf } from './tfjs.mjs';

export async function open(settings) {
  return { ...(await openTf(settings)), prepare };
}

function prepare(problem) {
  const { n, h, g, d, pass, gradOut } = problem;
  const headsFirst = (data, heads) =>
    tf.tidy(() => tf.reshape(tf.transpose(tf.tensor3d(data, [n, heads, d]), [1, 0, 2]), [g, heads / g, n, d]));
  const given = [headsFirst(problem.q, h), headsFirst(problem.k, g), headsFirst(problem.v, g)];
  const heads = headsOfMask(problem);
  const mask = isFull(problem) ? undefined : tf.tensor4d(additiveMask(problem), [heads, 1, n, n]);
  const scale = tf.scalar(1 / Math.sqrt(d));
  const [q, k, v] = given;
  const every = (x) => (h === g ? x : tf.tile(x, [1, h / g, 1, 1]));
  const sharesOf = () => {
    const scores = tf.mul(tf.matMul(q, every(k), false, true), scale);
    return tf.softmax(mask ? tf.add(scores, mask) : scores);
  };
  const forward = () => [tf.matMul(sharesOf(), every(v))];
  const target = pass === 'backward' && headsFirst(gradOut, h);
  const backward = () => {
    const shares = sharesOf();
    const ofGroup = (x) => (h === g ? x : tf.sum(x, 1, true));
    const gradShares = tf.matMul(target, every(v), false, true);
    const rest = tf.sub(gradShares, tf.sum(tf.mul(gradShares, shares), -1, true));
    const gradScores = tf.mul(tf.mul(shares, rest), scale);
    return [
      tf.matMul(gradScores, every(k)),
      ofGroup(tf.matMul(gradScores, q, true)),
      ofGroup(tf.matMul(shares, target, true)),
    ];
  };
  let results = [];
  return {
    run() {
      tf.dispose(results);
      results = tf.tidy(pass === 'backward' ? backward : forward);
    },
    async result() {
      const rows = tf.tidy(() =>
        tf.concat(results.map((x) => tf.reshape(tf.transpose(tf.reshape(x, [-1, n, d]), [1, 0, 2]), [-1]))),
      );
      return rows.data();
    },
  };
}
