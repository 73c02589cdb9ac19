/**
 * A training step of a decoder by jax-js: one compiled function for loss and gradients, one for AdamW. Rows of the embedding are
 * taken and their gradients summed outside, since a compiled gather has no gradient.
 */
import { jit, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import { open as openAttention } from './jax-js.mjs';
import { addRows, answersOf, rotation } from './training.mjs';

const EMBEDDING = 'model.embed_tokens.weight';

export async function open(settings) {
  return { ...(await openAttention(settings)), prepare };
}

function prepare({ config, optimizer, shapes, ...numbers }) {
  const { vocab_size: vocabulary, hidden_size: width, num_attention_heads: heads, rms_norm_eps: epsilon } = config;
  const { tokens: shape, ...ofParameters } = shapes;
  const [b, n, d] = [shape[1], shape[2] - 1, width / heads];
  const tensors = (make) =>
    Object.fromEntries(Object.entries(ofParameters).map(([name, shape]) => [name, make(name, shape)]));
  let parameters = tensors((name, shape) => np.array(numbers[name], { shape }));
  let [means, squares] = [0, 1].map(() => tensors((_, shape) => np.zeros(shape)));
  const turns = rotation(n, d, config.rope_theta).map((data) => np.array(data, { shape: [n, 1, d] }));

  /** Of rows [b, n, width] and targets [b n]. Each use of an array takes a reference. */
  const lossOf = ({ [EMBEDDING]: embedding, rows, ...weights }, targets, cos, sin) => {
    const linear = (x, name) => np.matmul(x, np.transpose(weights[`${name}.weight`]));
    const norm = (x, weight) => {
      const mean = np.mean(np.square(x.ref), -1, { keepdims: true });
      return x.div(np.sqrt(mean.add(epsilon))).mul(weight);
    };
    const turned = (x) => {
      const [first, second] = np.split(x.ref, 2, -1);
      return x.mul(cos.ref).add(np.concatenate([second.neg(), first], -1).mul(sin.ref));
    };
    let x = rows;
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const of = (name) => `model.layers.${layer}.${name}`;
      const y = norm(x.ref, weights[of('input_layernorm.weight')]);
      const project = (which, y) => linear(y, of(`self_attn.${which}_proj`)).reshape([b, n, heads, d]);
      const [q, k, v] = [turned(project('q', y.ref)), turned(project('k', y.ref)), project('v', y)];
      const out = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([b, n, width]);
      x = x.add(linear(out, of('self_attn.o_proj')));
      const z = norm(x.ref, weights[of('post_attention_layernorm.weight')]);
      const opened = nn.silu(linear(z.ref, of('mlp.gate_proj')));
      x = x.add(linear(opened.mul(linear(z, of('mlp.up_proj'))), of('mlp.down_proj')));
    }
    x = norm(x, weights['model.norm.weight']).reshape([b * n, width]);
    const logits = np.matmul(x, np.transpose(embedding));
    const isTarget = np.equal(targets.reshape([b * n, 1]), np.arange(vocabulary));
    const chosen = np.sum(np.where(isTarget, logits.ref, 0), -1);
    return np.mean(nn.logsumexp(logits, -1).sub(chosen));
  };
  const gradientsOf = jit(valueAndGrad(lossOf));

  const { learningRate, betas, weightDecay } = optimizer;
  const update = jit((weights, gradients, means, squares, step, root) => {
    const found = { weights: {}, means: {}, squares: {} };
    for (const name of Object.keys(ofParameters)) {
      const gradient = gradients[name];
      const mean = means[name].mul(betas[0]).add(gradient.ref.mul(1 - betas[0]));
      const square = squares[name].mul(betas[1]).add(np.square(gradient).mul(1 - betas[1]));
      const decay = ofParameters[name].length === 2 ? weightDecay : 0;
      const moved = mean.ref.mul(step.ref).div(np.sqrt(square.ref).mul(root.ref).add(optimizer.epsilon));
      found.weights[name] = weights[name].mul(1 - learningRate * decay).sub(moved);
      found.means[name] = mean;
      found.squares[name] = square;
    }
    return found;
  });

  let steps = 0;
  return answersOf(
    async ({ inputs, targets }) => {
      const rows = np.take(parameters[EMBEDDING].ref, np.array(inputs, { dtype: np.int32 }), 0).reshape([b, n, width]);
      const [loss, { rows: gradRows, ...gradients }] = gradientsOf(
        { ...tree.ref(parameters), rows },
        np.array(targets, { dtype: np.int32 }),
        ...turns.map((each) => each.ref),
      );
      const sums = await gradients[EMBEDDING].data();
      addRows(sums, await gradRows.data(), inputs, width);
      gradients[EMBEDDING] = np.array(sums, { shape: ofParameters[EMBEDDING] });
      steps++;
      const numbers = [learningRate / (1 - betas[0] ** steps), 1 / Math.sqrt(1 - betas[1] ** steps)];
      const found = update(parameters, gradients, means, squares, ...numbers.map((x) => np.array(x)));
      ({ weights: parameters, means, squares } = found);
      const [value] = await loss.data();
      await Promise.all(Object.values(parameters).map((each) => each.blockUntilReady()));
      return value;
    },
    numbers.tokens,
    shape,
  );
}
