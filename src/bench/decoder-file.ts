/** Decoders with random weights as GGUF files, which Saccade and other systems read. */
import { open, stat } from 'node:fs/promises';
import type { DecoderConfig } from '../models';
import { createDecoder } from '../models';
import { toFloat16 } from '../tensor/float16';
import { sizeOf } from '../tensor/shape';

export const WEIGHT_TYPES = ['f32', 'f16', 'q8', 'q4'] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];

const shape = (layers: number, width: number, hidden: number, heads: number, d: number, vocabulary: number) => ({
  model_type: 'qwen3',
  num_hidden_layers: layers,
  hidden_size: width,
  intermediate_size: hidden,
  num_attention_heads: heads,
  num_key_value_heads: heads / 2,
  head_dim: d,
  vocab_size: vocabulary,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  max_position_embeddings: 32_768,
  tie_word_embeddings: true,
});

/** By the names in options. */
export const DECODER_SHAPES = {
  'qwen3-0.6b': shape(28, 1024, 3072, 16, 128, 151_936),
  small: shape(4, 512, 1536, 8, 64, 8192),
  tiny: shape(2, 64, 96, 2, 32, 96),
} as const satisfies Readonly<Record<string, DecoderConfig>>;
export type DecoderShapeName = keyof typeof DECODER_SHAPES;
export type DecoderShape = (typeof DECODER_SHAPES)[DecoderShapeName];

/** GGUF's code of a type, and the bytes of 32 numbers. */
const TYPES: Readonly<Record<WeightType, { readonly code: number; readonly blockBytes: number }>> = {
  f32: { code: 0, blockBytes: 128 },
  f16: { code: 1, blockBytes: 64 },
  q8: { code: 8, blockBytes: 34 },
  q4: { code: 2, blockBytes: 18 },
};
const BLOCK = 32;
/** Weights are integers up to 7 times this, which every type holds exactly, with about the standard deviation of 0.02 of trained ones. */
const SCALE = 2 ** -8;

/** A tensor of the file. Matrices have the file's type; norms are ones in f32. */
export interface FileTensor {
  readonly name: string;
  /** In checkpoints. */
  readonly checkpoint: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

const NAMES: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens/, 'token_embd'],
  [/^model\.norm/, 'output_norm'],
  [/^model\.layers\.(\d+)/, 'blk.$1'],
  [/self_attn\.([qk])_norm/, 'attn_$1_norm'],
  [/self_attn\.([qkv])_proj/, 'attn_$1'],
  [/self_attn\.o_proj/, 'attn_output'],
  [/mlp\.(\w+)_proj/, 'ffn_$1'],
  [/input_layernorm/, 'attn_norm'],
  [/post_attention_layernorm/, 'ffn_norm'],
];

/** Where the tensors of a file lie, from the end of its head on. */
export function tensorsOf(config: DecoderShape, type: WeightType): readonly FileTensor[] {
  let offset = 0;
  return Object.entries(createDecoder(config).parameters).map(([checkpoint, { shape }]) => {
    const name = NAMES.reduce((text, [pattern, to]) => text.replace(pattern, to), checkpoint);
    const { blockBytes } = TYPES[shape.length === 1 ? 'f32' : type];
    const bytes = (sizeOf(shape) / BLOCK) * blockBytes;
    const tensor = { name, checkpoint, shape, offset, bytes };
    offset += bytes + padding(bytes);
    return tensor;
  });
}

/** Bytes of the matrices that a step reads. */
export const weightBytes = (config: DecoderShape, type: WeightType): number =>
  tensorsOf(config, type).reduce((sum, { bytes }) => sum + bytes, 0);

/** Writes the file unless it is there; returns where its tensors begin. */
export async function writeDecoder(path: string, config: DecoderShape, type: WeightType): Promise<number> {
  const tensors = tensorsOf(config, type);
  const head = headOf(config, tensors, type);
  const { offset, bytes } = tensors.at(-1) as FileTensor;
  const size = head.length + offset + bytes + padding(bytes);
  const known = await stat(path).catch(() => undefined);
  if (known?.size === size) return head.length;
  const file = await open(path, 'w');
  try {
    await file.write(head);
    for (const [at, tensor] of tensors.entries()) {
      const data = tensor.shape.length === 1 ? ones(tensor.bytes) : matrixBytes(tensor, type, at);
      await file.write(Buffer.concat([data, Buffer.alloc(padding(data.length))]));
    }
  } finally {
    await file.close();
  }
  return head.length;
}

const ALIGNMENT = 32;
const padding = (length: number) => (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
const ones = (bytes: number) => Buffer.from(new Float32Array(bytes / 4).fill(1).buffer);

function matrixBytes({ shape, bytes }: FileTensor, type: WeightType, seed: number): Buffer {
  const out = Buffer.alloc(bytes);
  const count = sizeOf(shape);
  let state = seed * 0x9e3779b9 + 1;
  /** From -7 to 7. */
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return ((state >>> 8) % 15) - 7;
  };
  if (type === 'f32') {
    const numbers = new Float32Array(out.buffer, out.byteOffset, count);
    for (let at = 0; at < count; at++) numbers[at] = next() * SCALE;
  } else if (type === 'f16') {
    const numbers = new Uint16Array(out.buffer, out.byteOffset, count);
    const codes = Array.from({ length: 15 }, (_, code) => toFloat16((code - 7) * SCALE));
    for (let at = 0; at < count; at++) numbers[at] = codes[next() + 7] as number;
  } else {
    const { blockBytes } = TYPES[type];
    const scale = toFloat16(SCALE);
    for (let start = 0; start < bytes; start += blockBytes) {
      out.writeUInt16LE(scale, start);
      for (let at = 0; at < BLOCK; at++) {
        const code = next();
        if (type === 'q8') out[start + 2 + at] = code & 255;
        else out[start + 2 + (at % 16)]! |= (code + 8) << (at < 16 ? 0 : 4);
      }
    }
  }
  return out;
}

/** Tokens that have words of their own in texts, for systems that take nothing else. */
export const WORDS = 64;
const [NORMAL, USER_DEFINED] = [1, 4];

/** What comes before the tensors, with a vocabulary that other systems take. */
function headOf(config: DecoderShape, tensors: readonly FileTensor[], type: WeightType): Buffer {
  const [u32, f32, bool] = [4, 6, 7];
  const vocabulary = Array.from({ length: config.vocab_size }, (_, id) => `<${id}>`);
  const pairs: readonly (readonly [string, Buffer])[] = [
    ['general.architecture', textPair('qwen3')],
    ['general.file_type', numberPair(u32, { f32: 0, f16: 1, q4: 2, q8: 7 }[type])],
    ['qwen3.block_count', numberPair(u32, config.num_hidden_layers)],
    ['qwen3.context_length', numberPair(u32, config.max_position_embeddings)],
    ['qwen3.embedding_length', numberPair(u32, config.hidden_size)],
    ['qwen3.feed_forward_length', numberPair(u32, config.intermediate_size)],
    ['qwen3.attention.head_count', numberPair(u32, config.num_attention_heads)],
    ['qwen3.attention.head_count_kv', numberPair(u32, config.num_key_value_heads)],
    ['qwen3.attention.key_length', numberPair(u32, config.head_dim)],
    ['qwen3.attention.value_length', numberPair(u32, config.head_dim)],
    ['qwen3.attention.layer_norm_rms_epsilon', numberPair(f32, config.rms_norm_eps)],
    ['qwen3.rope.freq_base', numberPair(f32, config.rope_theta)],
    ['tokenizer.ggml.model', textPair('gpt2')],
    ['tokenizer.ggml.pre', textPair('gpt-2')],
    ['tokenizer.ggml.tokens', textsPair(vocabulary)],
    [
      'tokenizer.ggml.token_type',
      list(
        5,
        vocabulary.map((_, id) => number(5, id < WORDS ? USER_DEFINED : NORMAL)),
      ),
    ],
    ['tokenizer.ggml.merges', textsPair(['< 0'])],
    ['tokenizer.ggml.eos_token_id', numberPair(u32, config.vocab_size - 1)],
    ['tokenizer.ggml.add_bos_token', numberPair(bool, 0)],
  ];
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    number(u32, 3),
    number(10, tensors.length),
    number(10, pairs.length),
    ...pairs.flatMap(([key, value]) => [text(key), value]),
    ...tensors.flatMap(({ name, shape, offset }) => [
      text(name),
      number(u32, shape.length),
      ...[...shape].reverse().map((extent) => number(10, extent)),
      number(u32, TYPES[shape.length === 1 ? 'f32' : type].code),
      number(10, offset),
    ]),
  ]);
  return Buffer.concat([head, Buffer.alloc(padding(head.length))]);
}

/** By GGUF's codes: u32, i32, f32, bool, u64. */
function number(code: number, value: number): Buffer {
  const bytes = Buffer.alloc(code === 10 ? 8 : code === 7 ? 1 : 4);
  if (code === 10) bytes.writeBigUInt64LE(BigInt(value));
  else if (code === 7) bytes.writeUInt8(value);
  else if (code === 6) bytes.writeFloatLE(value);
  else bytes.writeInt32LE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([number(10, bytes.length), bytes]);
}

const [TEXT, LIST] = [8, 9];
const numberPair = (code: number, value: number) => Buffer.concat([number(4, code), number(code, value)]);
const textPair = (value: string) => Buffer.concat([number(4, TEXT), text(value)]);
const list = (code: number, parts: readonly Buffer[]) =>
  Buffer.concat([number(4, LIST), number(4, code), number(10, parts.length), ...parts]);
const textsPair = (values: readonly string[]) => list(TEXT, values.map(text));
