/** Decoders as GGUF files, converted from Hugging Face's checkpoints as llama.cpp does, for tests. */
import type { HostTensor } from '../src/index';
import { type GgufTensor, type GgufValue, writeGguf } from './write-gguf';

type Config = Readonly<Record<string, unknown>>;

const U32 = 4;
const F32 = 6;
const TEXT = 8;

/** Names by rules, the first that fits. */
const RULES: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens|^transformer\.wte/, 'token_embd'],
  [/^transformer\.wpe/, 'position_embd'],
  [/^model\.norm|^transformer\.ln_f/, 'output_norm'],
  [/^lm_head/, 'output'],
  [/^(?:model\.layers|transformer\.h)\.(\d+)/, 'blk.$1'],
  [/self_attn\.(q|k)_norm/, 'attn_$1_norm'],
  [/self_attn\.(q|k|v)_proj/, 'attn_$1'],
  [/self_attn\.qkv_proj|attn\.c_attn/, 'attn_qkv'],
  [/self_attn\.o_proj|attn\.c_proj/, 'attn_output'],
  [/mlp\.gate_up_proj|mlp\.c_fc|mlp\.up_proj/, 'ffn_up'],
  [/mlp\.gate_proj/, 'ffn_gate'],
  [/mlp\.(down_proj|c_proj)/, 'ffn_down'],
  [/input_layernorm|ln_1/, 'attn_norm'],
  [/pre_feedforward_layernorm|ln_2/, 'ffn_norm'],
  [/post_feedforward_layernorm/, 'post_ffw_norm'],
];

/** `encode` gives the code of a type and the bytes of a matrix in it; default: f32. */
export function ggufOfDecoder(
  config: Config,
  parameters: Readonly<Record<string, HostTensor>>,
  metadata: Readonly<Record<string, GgufValue>> = {},
  encode: (name: string, numbers: Float32Array) => readonly [type: number, bytes: Uint8Array] = (_, numbers) => [
    0,
    bytesOf(numbers),
  ],
): Uint8Array {
  const model = config.model_type as string;
  const architecture = { mistral: 'llama', gemma3_text: 'gemma3' }[model] ?? model;
  const tensors = Object.entries(parameters).map(([name, { shape, data }]): GgufTensor => {
    const own = ggufName(name, model);
    const [given, numbers] = converted(own, shape, data as Float32Array, config, architecture);
    const [type, bytes] = given.length === 2 ? encode(own, numbers) : [0, bytesOf(numbers)];
    return { name: own, shape: given, type, bytes };
  });
  const { short_factor, long_factor } = (config.rope_scaling ?? {}) as Record<string, number[] | undefined>;
  const lists = {
    'rope_freqs.weight': factorsOf(config),
    'rope_factors_short.weight': short_factor,
    'rope_factors_long.weight': long_factor,
  };
  for (const [name, factors] of Object.entries(lists))
    if (factors) tensors.push({ name, shape: [factors.length], type: 0, bytes: bytesOf(Float32Array.from(factors)) });
  const pairs = {
    'general.architecture': [TEXT, architecture],
    ...pairsOf(config, architecture),
    ...metadata,
  } as const;
  return writeGguf({ metadata: pairs as Record<string, GgufValue>, tensors });
}

const bytesOf = (numbers: Float32Array) => new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);

function ggufName(name: string, model: string): string {
  const isGemma = model.startsWith('gemma');
  const given = name.replace('post_attention_layernorm', isGemma ? 'post_attention_norm' : 'ffn_norm');
  return RULES.reduce((text, [pattern, to]) => text.replace(pattern, to), given);
}

function converted(
  name: string,
  shape: readonly number[],
  data: Float32Array,
  config: Config,
  architecture: string,
): [readonly number[], Float32Array] {
  const [rows = 1, columns = 1] = shape;
  if (architecture === 'gpt2' && shape.length === 2 && !name.includes('_embd'))
    return [
      [columns, rows],
      Float32Array.from(data, (_, at) => data[(at % rows) * columns + Math.floor(at / rows)] as number),
    ];
  if (architecture.startsWith('gemma') && name.endsWith('norm.weight')) return [shape, data.map((value) => value + 1)];
  const heads = /attn_q\.weight/.test(name) ? config.num_attention_heads : config.num_key_value_heads;
  if (architecture === 'llama' && /attn_[qk]\.weight/.test(name)) {
    // [heads, 2, d / 2] -> [heads, d / 2, 2]
    const half = rows / (heads as number) / 2;
    const from = (row: number) => row - (row % (2 * half)) + (row % 2) * half + ((row % (2 * half)) >> 1);
    return [
      shape,
      Float32Array.from(data, (_, at) => data[from(Math.floor(at / columns)) * columns + (at % columns)] as number),
    ];
  }
  return [shape, data];
}

function pairsOf(config: Config, architecture: string): Record<string, GgufValue> {
  const scaling = config.rope_scaling as Config | undefined;
  const type = scaling?.rope_type as string | undefined;
  const isNamed = type === 'linear' || type === 'yarn';
  const d = (config.head_dim ?? (config.hidden_size as number) / (config.num_attention_heads as number)) as number;
  const values: Record<string, readonly [number, unknown]> = {
    embedding_length: [U32, config.hidden_size ?? config.n_embd],
    block_count: [U32, config.num_hidden_layers ?? config.n_layer],
    feed_forward_length: [U32, config.intermediate_size ?? 4 * (config.n_embd as number)],
    context_length: [U32, config.max_position_embeddings ?? config.n_positions],
    'attention.head_count': [U32, config.num_attention_heads ?? config.n_head],
    'attention.head_count_kv': [U32, config.num_key_value_heads],
    'attention.key_length': [U32, config.head_dim],
    'attention.value_length': [U32, config.head_dim],
    'attention.layer_norm_rms_epsilon': [F32, config.rms_norm_eps],
    'attention.layer_norm_epsilon': [F32, config.layer_norm_epsilon],
    'attention.sliding_window': [U32, config.sliding_window ?? undefined],
    'rope.dimension_count': [U32, config.n_embd ? undefined : d * ((config.partial_rotary_factor ?? 1) as number)],
    'rope.freq_base': [F32, config.rope_theta],
    'rope.scaling.type': [TEXT, isNamed ? type : undefined],
    'rope.scaling.factor': [F32, isNamed ? scaling?.factor : undefined],
    'rope.scaling.original_context_length': [
      U32,
      isNamed ? scaling?.original_max_position_embeddings : config.original_max_position_embeddings,
    ],
    'rope.scaling.yarn_beta_fast': [F32, scaling?.beta_fast],
    'rope.scaling.yarn_beta_slow': [F32, scaling?.beta_slow],
    attn_logit_softcapping: [F32, config.attn_logit_softcapping],
    final_logit_softcapping: [F32, config.final_logit_softcapping],
  };
  const given = Object.entries(values).filter(([, [, value]]) => value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [`${architecture}.${key}`, value]));
}

/** What Llama 3 divides its frequencies by. */
function factorsOf(config: Config): Float32Array | undefined {
  const { rope_type, factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } =
    (config.rope_scaling ?? {}) as Record<string, number>;
  if ((rope_type as unknown) !== 'llama3') return undefined;
  const d = (config.hidden_size as number) / (config.num_attention_heads as number);
  const [low, high, full] = [low_freq_factor, high_freq_factor, factor] as [number, number, number];
  return Float32Array.from({ length: d / 2 }, (_, j) => {
    const turns =
      ((original_max_position_embeddings as number) * (config.rope_theta as number) ** ((-2 * j) / d)) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return 1 / ((1 - smooth) / full + smooth);
  });
}
