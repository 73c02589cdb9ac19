/**
 * Llama, Mistral, Qwen 2 and Qwen 3: RMSNorm, rotary positions, heads that share keys and values, SwiGLU; windows in some
 * layers, and in Qwen 3 norms of queries and keys.
 * Source: Touvron et al. 2023, arXiv 2302.13971; Jiang et al. 2023, arXiv 2310.06825; Qwen 3, arXiv 2505.09388; the layouts of
 * Hugging Face's checkpoints.
 */
import { checkArray } from '../../../check';
import { glu } from '../../../nn/mlp';
import { norm } from '../../../nn/norm';
import { LARGEST_HEAD } from '../../../runtime/cpu/params';
import type { Architecture, Blueprint } from './architecture';
import { tokenEmbedding } from './embedding';
import { ropeOf } from './rope';
import { MOST_HEADS, MOST_LAYERS, refusal, type Settings } from './settings';

/** In what the members of the family differ. */
interface Traits {
  readonly hasQkNorm?: boolean;
  /** Biases of q, k and v, and of the result; default: as the configuration says. */
  readonly bias?: { readonly qkv: boolean; readonly out: boolean };
  /** The dimension of heads that the configuration does not tell; default: width / heads. */
  readonly d?: number;
  /** The first layer with a window, unless the configuration lists the layers; default: none has. */
  firstWindow?(settings: Settings): number;
}

const qwenWindows = (settings: Settings) => {
  const first = settings.whole('max_window_layers', 28, 0);
  return settings.flag('use_sliding_window') ? first : Number.POSITIVE_INFINITY;
};
const mistralWindows = ({ config }: Settings) => (config.sliding_window === null ? Number.POSITIVE_INFINITY : 0);

export const llama = member('llama', {});
export const mistral = member('mistral', { firstWindow: mistralWindows });
export const qwen2 = member('qwen2', { firstWindow: qwenWindows, bias: { qkv: true, out: false } });
export const qwen3 = member('qwen3', { firstWindow: qwenWindows, hasQkNorm: true, d: 128 });

function member(name: string, traits: Traits): Architecture {
  return { name, read: (settings) => read(settings, traits) };
}

const [EMBEDDING, HEAD] = ['model.embed_tokens.weight', 'lm_head.weight'];

function read(settings: Settings, traits: Traits): Blueprint {
  settings.refuse({ partial_rotary_factor: 1, num_experts: 0, num_local_experts: 0 });
  const layers = settings.whole('num_hidden_layers', undefined, 1, MOST_LAYERS);
  const heads = settings.whole('num_attention_heads', undefined, 1, MOST_HEADS);
  const width = settings.whole('hidden_size');
  const epsilon = settings.number('rms_norm_eps', 1e-6);
  const std = settings.number('initializer_range', 0.02);
  const isBiased = settings.flag('attention_bias');
  const { bias = { qkv: isBiased, out: isBiased } } = traits;
  const { keyHeads, d } = headsOf(settings, traits, { heads, width });
  const attention = {
    heads,
    keyHeads,
    d,
    bias,
    rope: ropeOf(settings.config, d),
    qkNorm: traits.hasQkNorm ? { epsilon } : undefined,
  };
  const feedForward = glu({
    width,
    hidden: settings.whole('intermediate_size'),
    activation: settings.activation('hidden_act', 'silu'),
    bias: settings.flag('mlp_bias'),
  });
  const rms = norm({ width, epsilon });
  const table = { [EMBEDDING]: { shape: [settings.whole('vocab_size'), width], initial: { std } } };
  return {
    width,
    std,
    embedding: tokenEmbedding(EMBEDDING, table),
    layers: windowsOf(settings, layers, traits).map((window, at) => ({
      name: `model.layers.${at}`,
      attention: {
        name: 'self_attn',
        module: { ...attention, params: window === undefined ? {} : { window: [window - 1, 0] } },
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

function headsOf(settings: Settings, traits: Traits, { heads, width }: Readonly<Record<'heads' | 'width', number>>) {
  const keyHeads = settings.whole('num_key_value_heads', heads);
  if (heads % keyHeads !== 0)
    throw refusal('num_key_value_heads', `a divisor of num_attention_heads ${heads}`, keyHeads);
  if (traits.d === undefined && settings.config.head_dim === undefined && width % heads !== 0)
    throw refusal('num_attention_heads', `a divisor of hidden_size ${width} where there is no head_dim`, heads);
  const d = settings.whole('head_dim', traits.d ?? width / heads);
  if (d % 2 !== 0 || d > LARGEST_HEAD) throw refusal('head_dim', `an even integer up to ${LARGEST_HEAD}`, d);
  return { keyHeads, d };
}

const LAYER_TYPES = ['full_attention', 'sliding_attention'];

/** How many keys a query sees in each layer, its own included; undefined for all. */
function windowsOf(settings: Settings, layers: number, { firstWindow }: Traits): (number | undefined)[] {
  const first = firstWindow?.(settings) ?? Number.POSITIVE_INFINITY;
  const usual = Array.from({ length: layers }, (_, at) => LAYER_TYPES[Number(at >= first)]);
  const types = settings.given('layer_types', usual);
  checkArray('layer_types of config', types);
  if (types.length !== layers) throw refusal('layer_types', `one for each of ${layers} layers`, types);
  return types.map((each) => {
    if (!LAYER_TYPES.includes(each as string)) throw refusal('layer_types', LAYER_TYPES.join(' or '), each);
    return each === LAYER_TYPES[1] ? settings.whole('sliding_window', 4096) : undefined;
  });
}
