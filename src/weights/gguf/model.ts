/** Decoders in GGUF: what its names, its order of rows and its pairs are in Hugging Face's checkpoints. */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { elementsAt, quote } from '../../io/bytes';
import { formatShape, rowMajorStrides, sizeOf } from '../../tensor/shape';
import { type ReadOptions, sourceOf } from '../source';
import type { StoredTensor, WeightFile } from '../stored';
import type { GgufPart, Metadata } from './parse';

type Config = Record<string, unknown>;

interface Architecture {
  readonly modelType: string;
  /** Names of modules, and of those within a layer. */
  readonly outer: Readonly<Record<string, string>>;
  readonly layer: string;
  readonly inner: Readonly<Record<string, string>>;
  /** Settings besides those that all have. */
  config(read: Reader): Config;
  /** A tensor as checkpoints have it, by the name of its module in the file. */
  adapt?(tensor: StoredTensor, module: string, read: Reader): StoredTensor;
}

/** The pairs of an architecture, by their names behind its prefix. */
interface Reader {
  number(key: string): number | undefined;
  text(key: string): string | undefined;
  has(tensor: string): boolean;
  readonly label: string;
}

const LLAMA = {
  outer: { token_embd: 'model.embed_tokens', output_norm: 'model.norm', output: 'lm_head' },
  layer: 'model.layers',
  inner: {
    ...{ attn_norm: 'input_layernorm', ffn_norm: 'post_attention_layernorm' },
    ...{ attn_q: 'self_attn.q_proj', attn_k: 'self_attn.k_proj', attn_v: 'self_attn.v_proj' },
    ...{ attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm', attn_output: 'self_attn.o_proj' },
    ...{ ffn_gate: 'mlp.gate_proj', ffn_up: 'mlp.up_proj', ffn_down: 'mlp.down_proj' },
  },
  config: llamaConfig,
};

const GEMMA = {
  ...LLAMA,
  inner: {
    ...LLAMA.inner,
    post_attention_norm: 'post_attention_layernorm',
    ffn_norm: 'pre_feedforward_layernorm',
    post_ffw_norm: 'post_feedforward_layernorm',
  },
  adapt: withoutOne,
};

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: {
    ...LLAMA,
    modelType: 'llama',
    config: (read) => ({
      ...llamaConfig(read),
      ...(read.number('attention.sliding_window') ? { model_type: 'mistral' } : {}),
      attention_bias: read.has('blk.0.attn_q.bias'),
      mlp_bias: read.has('blk.0.ffn_up.bias'),
    }),
    adapt: unpermuted,
  },
  qwen2: { ...LLAMA, modelType: 'qwen2' },
  qwen3: { ...LLAMA, modelType: 'qwen3' },
  phi3: {
    ...LLAMA,
    modelType: 'phi3',
    inner: { ...LLAMA.inner, attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' },
  },
  gemma2: { ...GEMMA, modelType: 'gemma2', config: (read) => gemmaConfig(read, 46) },
  gemma3: { ...GEMMA, modelType: 'gemma3_text', config: (read) => gemmaConfig(read, 62) },
  gpt2: {
    modelType: 'gpt2',
    outer: {
      ...{ token_embd: 'transformer.wte', position_embd: 'transformer.wpe' },
      ...{ output_norm: 'transformer.ln_f', output: 'lm_head' },
    },
    layer: 'transformer.h',
    inner: {
      ...{ attn_norm: 'ln_1', attn_qkv: 'attn.c_attn', attn_output: 'attn.c_proj' },
      ...{ ffn_norm: 'ln_2', ffn_up: 'mlp.c_fc', ffn_down: 'mlp.c_proj' },
    },
    config: (read) => ({
      n_embd: read.number('embedding_length'),
      n_layer: read.number('block_count'),
      n_head: read.number('attention.head_count'),
      n_inner: read.number('feed_forward_length'),
      n_positions: read.number('context_length'),
      layer_norm_epsilon: read.number('attention.layer_norm_epsilon'),
    }),
    adapt: transposed,
  },
};

const NAME = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/;
/** What the frequencies of rotary positions are divided by, one for each pair. */
const FACTORS = 'rope_freqs.weight';
/** The same for sequences up to the original length, and for longer ones. */
const BY_LENGTH = { short_factor: 'rope_factors_short.weight', long_factor: 'rope_factors_long.weight' };

/** Tensors by the names of checkpoints and their configuration; as the file has them if its architecture is not known. */
export async function modelOf(
  label: string,
  { metadata, tensors }: GgufPart,
  options: ReadOptions,
): Promise<Pick<WeightFile, 'tensors' | 'config'>> {
  const name = metadata['general.architecture'];
  if (typeof name !== 'string' || !Object.hasOwn(ARCHITECTURES, name)) return { tensors };
  const found = ARCHITECTURES[name] as Architecture;
  const read = readerOf(label, name, metadata, tensors);
  const named = new Map<string, StoredTensor>();
  for (const stored of tensors.values()) {
    if (stored.name === FACTORS || stored.name.startsWith('rope_factors_')) continue;
    const tensor = renamed(stored, found, read);
    if (named.has(tensor.name)) throw new ParseError(`${label}: two tensors are ${quote(tensor.name)}`);
    named.set(tensor.name, tensor);
  }
  const config = {
    model_type: found.modelType,
    vocab_size: tensors.get('token_embd.weight')?.shape[0],
    tie_word_embeddings: !tensors.has('output.weight'),
    ...found.config(read),
    ...(await factorsOf(tensors, read, options)),
  };
  return { tensors: named, config: Object.fromEntries(Object.entries(config).filter(([, value]) => value != null)) };
}

function renamed(stored: StoredTensor, { outer, layer, inner, adapt }: Architecture, read: Reader): StoredTensor {
  const [, index, module = '', part] = NAME.exec(stored.name) ?? [];
  const own = (index === undefined ? outer : inner)[module];
  if (own === undefined) return stored;
  const name = `${index === undefined ? own : `${layer}.${index}.${own}`}.${part}`;
  return { ...(adapt?.(stored, module, read) ?? stored), name };
}

function readerOf(label: string, prefix: string, metadata: Metadata, tensors: GgufPart['tensors']): Reader {
  const typed =
    <T>(type: 'number' | 'string') =>
    (key: string) => {
      const value = metadata[`${prefix}.${key}`];
      if (value === undefined || typeof value === type) return value as T | undefined;
      throw new ParseError(`${label}: ${prefix}.${key} must be a ${type}, got ${show(value)}`);
    };
  return { label, number: typed<number>('number'), text: typed<string>('string'), has: (name) => tensors.has(name) };
}

function llamaConfig(read: Reader): Config {
  const [width, heads] = [read.number('embedding_length'), read.number('attention.head_count')];
  const d = read.number('attention.key_length') ?? (width ?? 0) / (heads ?? 1);
  const rotated = read.number('rope.dimension_count') ?? d;
  return {
    hidden_size: width,
    num_hidden_layers: read.number('block_count'),
    intermediate_size: read.number('feed_forward_length'),
    num_attention_heads: heads,
    num_key_value_heads: read.number('attention.head_count_kv'),
    head_dim: d,
    rms_norm_eps: read.number('attention.layer_norm_rms_epsilon'),
    max_position_embeddings: read.number('context_length'),
    sliding_window: read.number('attention.sliding_window'),
    rope_theta: read.number('rope.freq_base'),
    rope_scaling: scalingOf(read),
    partial_rotary_factor: rotated === d ? undefined : rotated / d,
    num_local_experts: read.number('expert_count'),
  };
}

function scalingOf(read: Reader): Config | undefined {
  const type = read.text('rope.scaling.type') ?? 'none';
  if (type === 'none') return undefined;
  return {
    rope_type: type,
    factor: read.number('rope.scaling.factor'),
    original_max_position_embeddings: read.number('rope.scaling.original_context_length'),
    beta_fast: read.number('rope.scaling.yarn_beta_fast'),
    beta_slow: read.number('rope.scaling.yarn_beta_slow'),
  };
}

/** Scores are scaled by the width of heads but in the largest model, which is known by its layers. */
function gemmaConfig(read: Reader, layersOfLargest: number): Config {
  const config = llamaConfig(read);
  const isLargest = config.num_hidden_layers === layersOfLargest;
  const perHead = (config.hidden_size as number) / (config.num_attention_heads as number);
  return {
    ...config,
    query_pre_attn_scalar: isLargest ? perHead : config.head_dim,
    rope_local_base_freq: read.number('rope.freq_base_swa'),
    attn_logit_softcapping: read.number('attn_logit_softcapping'),
    final_logit_softcapping: read.number('final_logit_softcapping'),
  };
}

/** Llama 3 has its scaled frequencies as a tensor, Phi-3 as two. */
async function factorsOf(tensors: GgufPart['tensors'], read: Reader, options: ReadOptions): Promise<Config> {
  const list = async ({ name, type, shape, source, start, byteLength }: StoredTensor) => {
    if (type !== 'f32' || shape.length !== 1)
      throw new ParseError(`${source.name}: ${name} must be a list of f32, got ${type} ${formatShape(shape)}`);
    const bytes = await source.read(start, start + byteLength, options);
    return [...elementsAt(bytes, 0, 'f32', sizeOf(shape))];
  };
  const stored = tensors.get(FACTORS);
  if (stored) return { rope_scaling: { rope_type: 'factors', factors: await list(stored) } };
  const pair = Object.entries(BY_LENGTH).map(([key, name]) => [key, tensors.get(name)] as const);
  if (!pair.some(([, tensor]) => tensor)) return {};
  const lists = await Promise.all(pair.map(async ([key, tensor]) => [key, tensor && (await list(tensor))] as const));
  const rope_scaling = {
    rope_type: 'longrope',
    original_max_position_embeddings: read.number('rope.scaling.original_context_length'),
    attention_factor: read.number('rope.scaling.attn_factor'),
    ...Object.fromEntries(lists),
  };
  return { rope_scaling };
}

/** Rows of queries: more than any published model has. */
const MOST_ROWS = 2 ** 18;

/**
 * Rows of queries and keys as checkpoints have them: the first elements of a head's pairs, then the second ones. In the file
 * the two of a pair lie side by side.
 */
function unpermuted(tensor: StoredTensor, module: string, read: Reader): StoredTensor {
  if (module !== 'attn_q' && module !== 'attn_k') return tensor;
  const heads = read.number('attention.head_count') ?? 1;
  const own = module === 'attn_q' ? heads : (read.number('attention.head_count_kv') ?? heads);
  const [count = 0] = tensor.shape;
  const d = count / own;
  if (!(own > 0 && d > 0 && d % 2 === 0 && sizeOf(tensor.shape) > 0 && count <= MOST_ROWS)) {
    const rows = `rows for ${own} heads of an even width`;
    throw new ParseError(`${read.label}: ${quote(tensor.name)} must have ${rows}, got ${formatShape(tensor.shape)}`);
  }
  const rows = Int32Array.from({ length: count }, (_, row) => {
    const within = row % d;
    return row - within + (2 * within < d ? 2 * within : 2 * within - d + 1);
  });
  return { ...tensor, rows };
}

/** GPT-2's checkpoints have matrices [in, out], except those of embeddings; the file has them [out, in]. */
function transposed(tensor: StoredTensor, module: string): StoredTensor {
  if (tensor.shape.length !== 2 || module.endsWith('_embd') || module === 'output') return tensor;
  return { ...tensor, shape: [...tensor.shape].reverse(), strides: rowMajorStrides(tensor.shape).reverse() };
}

/** Gemma's norms multiply by 1 + weight, which the file has added. */
function withoutOne(tensor: StoredTensor, module: string): StoredTensor {
  if (!module.endsWith('_norm') || tensor.type !== 'f32') return tensor;
  const { source, start, byteLength } = tensor;
  const shifted = sourceOf(source.name, byteLength, async (from, to, options) => {
    const bytes = (await source.read(start + from, start + to, options)).slice();
    const numbers = new Float32Array(bytes.buffer, 0, bytes.length >> 2);
    numbers.set(numbers.map((value) => value - 1));
    return bytes;
  });
  return { ...tensor, source: shifted, start: 0 };
}
