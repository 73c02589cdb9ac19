/**
 * GPT-2: learned positions, layer norms, biases everywhere, GELU by its tanh approximation, and matrices [in, out].
 * Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners; the layout of Hugging Face's checkpoints.
 */
import { mlp } from '../../../nn/mlp';
import { rowNorm } from '../../../nn/row-norm';
import { LARGEST_HEAD } from '../../../runtime/cpu/params';
import type { Architecture, Blueprint } from './architecture';
import { learnedPositions, tokenEmbedding } from './embedding';
import { MOST_HEADS, MOST_LAYERS, refusal, type Settings } from './settings';

const [TOKENS, POSITIONS] = ['transformer.wte.weight', 'transformer.wpe.weight'];

export const gpt2: Architecture = { name: 'gpt2', read };

function read(settings: Settings): Blueprint {
  settings.refuse({ scale_attn_weights: true, scale_attn_by_inverse_layer_idx: false, add_cross_attention: false });
  const layers = settings.whole('n_layer', 12, 1, MOST_LAYERS);
  const heads = settings.whole('n_head', 12, 1, MOST_HEADS);
  const [width, context] = [settings.whole('n_embd', 768), settings.whole('n_positions', 1024)];
  const d = width / heads;
  if (!Number.isInteger(d) || d > LARGEST_HEAD)
    throw refusal('n_head', `a divisor of n_embd ${width} with heads up to ${LARGEST_HEAD}`, heads);
  const std = settings.number('initializer_range', 0.02);
  const normal = rowNorm({ kind: 'layer', width, epsilon: settings.number('layer_norm_epsilon', 1e-5) });
  const feedForward = mlp({
    width,
    hidden: settings.whole('n_inner', 4 * width),
    activation: settings.activation('activation_function', 'gelu_new'),
    bias: true,
    transposed: true,
    names: ['c_fc', 'c_proj'],
  });
  const attention = {
    heads,
    keyHeads: heads,
    d,
    rope: undefined,
    bias: { qkv: true, out: true },
    projections: { fused: 'c_attn', out: 'c_proj', transposed: true },
  };
  const tokens = tokenEmbedding(TOKENS, {
    [TOKENS]: { shape: [settings.whole('vocab_size', 50_257), width], initial: { std } },
    [POSITIONS]: { shape: [context, width], initial: { std } },
  });
  return {
    width,
    context,
    std,
    embedding: learnedPositions(tokens, POSITIONS, context),
    layers: Array.from({ length: layers }, (_, at) => ({
      name: `transformer.h.${at}`,
      attention: { name: 'attn', module: attention, before: { name: 'ln_1', module: normal } },
      feedForward: { name: 'mlp', module: feedForward, before: { name: 'ln_2', module: normal } },
    })),
    norm: { name: 'transformer.ln_f', module: normal },
    head: settings.flag('tie_word_embeddings', true) ? TOKENS : 'lm_head.weight',
    prefix: 'transformer',
    // Causal masks.
    ignored: /\.attn\.(masked_)?bias$/,
  };
}
