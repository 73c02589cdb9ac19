/**
 * Gemma 2 and 3: norms by 1 + weight before and after each branch, scaled embeddings, gated GELU, windows in most layers; in
 * Gemma 2 soft caps of scores and logits, in Gemma 3 norms of queries and keys, and a rotary base of its own within windows.
 * Source: Gemma 2, arXiv 2408.00118; Gemma 3, arXiv 2503.19786; the layouts of Hugging Face's checkpoints.
 */
import { glu } from '../../../nn/mlp';
import { rowNorm } from '../../../nn/row-norm';
import type { Architecture, Blueprint } from './architecture';
import { headsOf, windowParams, windowsOf } from './attention-settings';
import { scaledEmbedding, tokenEmbedding } from './embedding';
import { ropeOf } from './rope';
import { MOST_LAYERS, type Settings } from './settings';

/** In what the two differ. */
interface Traits {
  readonly hasQkNorm: boolean;
  /** Soft caps of scores and of logits, unless the configuration says otherwise. */
  readonly softcaps: readonly [scores: number | undefined, logits: number | undefined];
  /** Every so many layers one sees all keys. */
  period(settings: Settings): number;
  /** The rotary embeddings of layers with a window, and of those without. */
  ropes(settings: Settings, d: number): Readonly<Record<'local' | 'global', ReturnType<typeof ropeOf>>>;
}

const plainRopes: Traits['ropes'] = ({ config }, d) => {
  const rope = ropeOf(config, d);
  return { local: rope, global: rope };
};

/** Newer configurations have one by kind of layer in `rope_parameters`. */
const ropesByLayer: Traits['ropes'] = ({ config }, d) => {
  const { rope_theta: theta = 1e6, rope_local_base_freq: local = 10_000, rope_parameters, ...others } = config;
  const { sliding_attention = { rope_theta: local }, full_attention = rope_parameters } = (rope_parameters ?? {}) as {
    readonly [kind: string]: unknown;
  };
  const global = { ...others, rope_theta: theta, rope_parameters: full_attention };
  return { local: ropeOf({ rope_parameters: sliding_attention }, d), global: ropeOf(global, d) };
};

export const gemma2 = member('gemma2', { hasQkNorm: false, softcaps: [50, 30], period: () => 2, ropes: plainRopes });
export const gemma3 = member('gemma3_text', {
  hasQkNorm: true,
  softcaps: [undefined, undefined],
  period: (settings) => settings.whole('sliding_window_pattern', 6),
  ropes: ropesByLayer,
});

function member(name: string, traits: Traits): Architecture {
  return { name, read: (settings) => read(settings, traits) };
}

const EMBEDDING = 'model.embed_tokens.weight';

function read(settings: Settings, { hasQkNorm, softcaps, period, ropes }: Traits): Blueprint {
  settings.refuse({ use_bidirectional_attention: false });
  const layers = settings.whole('num_hidden_layers', undefined, 1, MOST_LAYERS);
  const width = settings.whole('hidden_size');
  const epsilon = settings.number('rms_norm_eps', 1e-6);
  const std = settings.number('initializer_range', 0.02);
  const isBiased = settings.flag('attention_bias');
  const { heads, keyHeads, d } = headsOf(settings, width, 256);
  const rms = rowNorm({ kind: 'unit-rms', width, epsilon });
  const feedForward = glu({
    width,
    hidden: settings.whole('intermediate_size'),
    activation: settings.activation('hidden_activation', 'gelu_pytorch_tanh'),
  });
  const rope = ropes(settings, d);
  const attentionOf = (window: number | undefined) => ({
    heads,
    keyHeads,
    d,
    bias: { qkv: isBiased, out: isBiased },
    rope: window === undefined ? rope.global : rope.local,
    qkNorm: hasQkNorm ? { kind: 'unit-rms' as const, epsilon } : undefined,
    params: {
      ...windowParams(window),
      softcap: settings.bound('attn_logit_softcapping', softcaps[0]),
      scale: settings.positive('query_pre_attn_scalar', 256) ** -0.5,
    },
  });
  const table = { [EMBEDDING]: { shape: [settings.whole('vocab_size'), width], initial: { std } } };
  const every = period(settings);
  return {
    width,
    std,
    embedding: scaledEmbedding(tokenEmbedding(EMBEDDING, table), Math.sqrt(width)),
    layers: windowsOf(settings, layers, (at) => (at + 1) % every !== 0).map((window, at) => ({
      name: `model.layers.${at}`,
      attention: {
        name: 'self_attn',
        module: attentionOf(window),
        before: { name: 'input_layernorm', module: rms },
        after: { name: 'post_attention_layernorm', module: rms },
      },
      feedForward: {
        name: 'mlp',
        module: feedForward,
        before: { name: 'pre_feedforward_layernorm', module: rms },
        after: { name: 'post_feedforward_layernorm', module: rms },
      },
    })),
    norm: { name: 'model.norm', module: rms },
    head: settings.flag('tie_word_embeddings', true) ? EMBEDDING : 'lm_head.weight',
    softcap: settings.bound('final_logit_softcapping', softcaps[1]),
    prefix: 'model',
    // They follow from the configuration.
    ignored: /\.rotary_emb\.inv_freq$/,
  };
}
