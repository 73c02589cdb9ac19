/**
 * A training step of a decoder by TensorFlow.js. Gradients are written out: its builds register none, its WebAssembly multiplies
 * fast only matrices as they lie, and it lacks what the gradients of a gather and of the cross entropy take.
 */
import { addRows, answersOf, rotation } from './training.mjs';

const EMBEDDING = 'model.embed_tokens.weight';

export function prepareWith(tf, { config, optimizer, shapes, ...numbers }) {
  const { vocab_size: vocabulary, hidden_size: width, num_attention_heads: heads, rms_norm_eps: epsilon } = config;
  const { tokens: shape, ...ofParameters } = shapes;
  const names = Object.keys(ofParameters);
  const [b, n, d] = [shape[1], shape[2] - 1, width / heads];
  const parameters = names.map((name) => tf.tensor(numbers[name], ofParameters[name]));
  const moments = [0, 1].map(() => names.map((name) => tf.zeros(ofParameters[name])));
  const [cos, sin] = rotation(n, d, config.rope_theta).map((data) => tf.tensor(data, [n, d]));
  const mask = tf.tensor2d(
    Float32Array.from({ length: n * n }, (_, at) => (at % n > Math.floor(at / n) ? -Infinity : 0)),
    [n, n],
  );

  const flipped = (x) => tf.transpose(x, x.rank === 2 ? [1, 0] : [0, 2, 1]);
  const byHeads = (x) => tf.reshape(tf.transpose(tf.reshape(x, [b, n, heads, d]), [0, 2, 1, 3]), [b * heads, n, d]);
  const byTokens = (x) => tf.reshape(tf.transpose(tf.reshape(x, [b, heads, n, d]), [0, 2, 1, 3]), [b * n, width]);
  const turned = (x, sin) => {
    const [first, second] = tf.split(x, 2, -1);
    return tf.add(tf.mul(x, cos), tf.mul(tf.concat([tf.neg(second), first], -1), sin));
  };

  /** The loss of tokens, both [b n], and gradients by name; those of the rows of the embedding apart. */
  const gradientsOf = (inputs, targets) => {
    const weights = Object.fromEntries(names.map((name, at) => [name, parameters[at]]));
    const gradients = {};
    /** Each gives its result, and the gradient of its input by that of the result. */
    const linear = (x, name) => {
      const weight = weights[name];
      const back = (dy) => {
        gradients[name] = tf.matMul(flipped(dy), x);
        return tf.matMul(dy, weight);
      };
      return [tf.matMul(x, flipped(weight)), back];
    };
    const norm = (x, name) => {
      const root = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
      const even = tf.mul(x, root);
      const back = (dy) => {
        gradients[name] = tf.sum(tf.mul(dy, even), 0);
        const own = tf.mul(dy, weights[name]);
        return tf.mul(tf.sub(own, tf.mul(even, tf.mean(tf.mul(own, even), -1, true))), root);
      };
      return [tf.mul(even, weights[name]), back];
    };
    const attention = (x, of) => {
      const [[q, backQ], [k, backK], [v, backV]] = ['q', 'k', 'v'].map((which) => {
        const [y, back] = linear(x, of(`${which}_proj.weight`));
        return [byHeads(y), (dy) => back(byTokens(dy))];
      });
      const [queries, keys, scale] = [turned(q, sin), turned(k, sin), 1 / Math.sqrt(d)];
      const shares = tf.softmax(tf.add(tf.mul(tf.matMul(queries, flipped(keys)), scale), mask));
      const [y, backOut] = linear(byTokens(tf.matMul(shares, v)), of('o_proj.weight'));
      const back = (dy) => {
        const gradOut = byHeads(backOut(dy));
        const gradShares = tf.matMul(gradOut, flipped(v));
        const rest = tf.sub(gradShares, tf.sum(tf.mul(gradShares, shares), -1, true));
        const gradScores = tf.mul(tf.mul(shares, rest), scale);
        const [gradQ, gradK] = [tf.matMul(gradScores, keys), tf.matMul(flipped(gradScores), queries)];
        const minus = tf.neg(sin);
        return tf.addN([
          backQ(turned(gradQ, minus)),
          backK(turned(gradK, minus)),
          backV(tf.matMul(flipped(shares), gradOut)),
        ]);
      };
      return [y, back];
    };
    const feedForward = (x, of) => {
      const [[gate, backGate], [up, backUp]] = ['gate', 'up'].map((which) => linear(x, of(`${which}_proj.weight`)));
      const share = tf.sigmoid(gate);
      const opened = tf.mul(gate, share);
      const [y, backDown] = linear(tf.mul(opened, up), of('down_proj.weight'));
      const back = (dy) => {
        const grad = backDown(dy);
        const slope = tf.add(share, tf.mul(opened, tf.sub(1, share)));
        return tf.add(backGate(tf.mul(tf.mul(grad, up), slope)), backUp(tf.mul(grad, opened)));
      };
      return [y, back];
    };

    let x = tf.gather(weights[EMBEDDING], tf.tensor1d(inputs, 'int32'));
    const backs = [];
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      for (const [before, part, own] of [
        ['input_layernorm', attention, 'self_attn'],
        ['post_attention_layernorm', feedForward, 'mlp'],
      ]) {
        const [y, backNorm] = norm(x, `model.layers.${layer}.${before}.weight`);
        const [z, backPart] = part(y, (name) => `model.layers.${layer}.${own}.${name}`);
        x = tf.add(x, z);
        backs.unshift((dy) => tf.add(dy, backNorm(backPart(dy))));
      }
    }
    const [last, backNorm] = norm(x, 'model.norm.weight');
    const [logits, backHead] = linear(last, EMBEDDING);
    // Its WebAssembly writes integers, whatever type is asked for.
    const chosen = tf.cast(tf.oneHot(tf.tensor1d(targets, 'int32'), vocabulary, 1, 0, 'int32'), 'float32');
    const loss = tf.mean(tf.sub(tf.logSumExp(logits, -1), tf.sum(tf.mul(logits, chosen), -1)));
    const start = backNorm(backHead(tf.div(tf.sub(tf.softmax(logits), chosen), b * n)));
    return { loss, gradients, gradRows: backs.reduce((dy, back) => back(dy), start) };
  };

  const replace = (list, at, tensor) => {
    list[at].dispose();
    list[at] = tensor;
  };
  let steps = 0;
  const update = (at, gradient) => {
    const { learningRate, betas, weightDecay } = optimizer;
    const decay = ofParameters[names[at]].length === 2 ? weightDecay : 0;
    const [weight, mean, square] = tf.tidy(() => {
      const mean = tf.add(tf.mul(moments[0][at], betas[0]), tf.mul(gradient, 1 - betas[0]));
      const square = tf.add(tf.mul(moments[1][at], betas[1]), tf.mul(tf.square(gradient), 1 - betas[1]));
      const root = tf.add(tf.mul(tf.sqrt(square), 1 / Math.sqrt(1 - betas[1] ** steps)), optimizer.epsilon);
      const moved = tf.mul(tf.div(mean, root), learningRate / (1 - betas[0] ** steps));
      return [tf.sub(tf.mul(parameters[at], 1 - learningRate * decay), moved), mean, square];
    });
    replace(parameters, at, weight);
    replace(moments[0], at, mean);
    replace(moments[1], at, square);
  };

  return answersOf(
    async ({ inputs, targets }) => {
      const { loss, gradients, gradRows } = tf.tidy(() => gradientsOf(inputs, targets));
      const sums = await gradients[EMBEDDING].data();
      addRows(sums, await gradRows.data(), inputs, width);
      tf.dispose([gradients[EMBEDDING], gradRows]);
      gradients[EMBEDDING] = tf.tensor(sums, ofParameters[EMBEDDING]);
      steps++;
      for (const [at, name] of names.entries()) update(at, gradients[name]);
      const [value] = await loss.data();
      tf.dispose([loss, gradients]);
      return value;
    },
    numbers.tokens,
    shape,
  );
}
