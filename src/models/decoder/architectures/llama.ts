/**
 * Llama, Mistral, Qwen 2, Qwen 3 and Phi-3: RMSNorm, rotary positions, heads that share keys and values, SwiGLU; windows in some
 * layers, in Qwen 3 norms of queries and keys, and in Phi-3 fused projections.
 * Source: Touvron et al. 2023, arXiv 2302.13971; Jiang et al. 2023, arXiv 2310.06825; Qwen 3, arXiv 2505.09388; Abdin et al.
 * 2024, Phi-3, arXiv 2404.14219; the layouts of Hugging Face's checkpoints.
 */
import { glu } from '../../../nn/mlp';
import { rowNorm } from '../../../nn/row-norm';
import type { Architecture, Blueprint } from './architecture';
import { headsOf, windowParams, windowsOf } from './attention-settings';
import { tokenEmbedding } from './embedding';
import { ropeOf } from './rope';
import { MOST_LAYERS, type Settings } from './settings';

/** In what the members of the family differ. */
interface Traits {
  readonly hasQkNorm?: boolean;
  /** Biases of q, k and v, and of the result; default: as the configuration says. */
  readonly bias?: { readonly qkv: boolean; readonly out: boolean };
  /** The dimension of heads that the configuration does not tell; default: width / heads. */
  readonly d?: number;
  /** The first layer with a window, unless the configuration lists the layers; default: none has. */
  firstWindow?(settings: Settings): number;
  /** Whether projections that take the same input are one, and a part of each head may be rotated. */
  readonly isFused?: boolean;
}

const qwenWindows = (settings: Settings) => {
  const first = settings.whole('max_window_layers', 28, 0);
  return settings.flag('use_sliding_window') ? first : Number.POSITIVE_INFINITY;
};
const mistralWindows = ({ config }: Settings) => (config.sliding_window === null ? Number.POSITIVE_INFINITY : 0);
const phiWindows = ({ config }: Settings) => (config.sliding_window == null ? Number.POSITIVE_INFINITY : 0);

export const llama = member('llama', {});
export const mistral = member('mistral', { firstWindow: mistralWindows });
export const qwen2 = member('qwen2', { firstWindow: qwenWindows, bias: { qkv: true, out: false } });
export const qwen3 = member('qwen3', { firstWindow: qwenWindows, hasQkNorm: true, d: 128 });
export const phi3 = member('phi3', { firstWindow: phiWindows, isFused: true });

function member(name: string, traits: Traits): Architecture {
  return { name, read: (settings) => read(settings, traits) };
}

const [EMBEDDING, HEAD] = ['model.embed_tokens.weight', 'lm_head.weight'];

function read(settings: Settings, traits: Traits): Blueprint {
  settings.refuse({ ...(traits.isFused ? {} : { partial_rotary_factor: 1 }), num_experts: 0, num_local_experts: 0 });
  const layers = settings.whole('num_hidden_layers', undefined, 1, MOST_LAYERS);
  const width = settings.whole('hidden_size');
  const epsilon = settings.number('rms_norm_eps', 1e-6);
  const std = settings.number('initializer_range', 0.02);
  const isBiased = settings.flag('attention_bias');
  const { bias = { qkv: isBiased, out: isBiased }, isFused, firstWindow } = traits;
  const { heads, keyHeads, d } = headsOf(settings, width, traits.d);
  const attention = {
    heads,
    keyHeads,
    d,
    bias,
    rope: ropeOf(settings.config, d),
    qkNorm: traits.hasQkNorm ? { epsilon } : undefined,
    projections: isFused ? { fused: 'qkv_proj' } : undefined,
  };
  const feedForward = glu({
    width,
    hidden: settings.whole('intermediate_size'),
    activation: settings.activation('hidden_act', 'silu'),
    bias: settings.flag('mlp_bias'),
    names: isFused ? ['gate_up_proj', 'down_proj'] : undefined,
  });
  const first = firstWindow?.(settings) ?? Number.POSITIVE_INFINITY;
  const rms = rowNorm({ width, epsilon });
  const table = { [EMBEDDING]: { shape: [settings.whole('vocab_size'), width], initial: { std } } };
  return {
    width,
    std,
    embedding: tokenEmbedding(EMBEDDING, table),
    layers: windowsOf(settings, layers, (at) => at >= first).map((window, at) => ({
      name: `model.layers.${at}`,
      attention: {
        name: 'self_attn',
        module: { ...attention, params: windowParams(window) },
        before: { name: 'input_layernorm', module: rms },
      },
      feedForward: { name: 'mlp', module: feedForward, before: { name: 'post_attention_layernorm', module: rms } },
    })),
    norm: { name: 'model.norm', module: rms },
    head: settings.flag('tie_word_embeddings') ? EMBEDDING : HEAD,
    prefix: 'model',
    // They follow from the configuration.
    ignored: /\.rotary_emb\.inv_freq$/,
  };
}
