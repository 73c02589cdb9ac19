import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { relativeError } from '../../../test/describe-method';
import { expectClose } from '../../../test/expect';
import configs from '../../../test/fixtures/decoder.json';
import { ggufOfDecoder } from '../../../test/gguf-of-decoder';
import { type GgufFile, type GgufTensor, type GgufValue, writeGguf } from '../../../test/write-gguf';
import { createRuntime, type HostTensor, hostTensor, type Runtime } from '../../index';
import { readSafetensors } from '../../io';
import { createDecoder } from '../../models/decoder';
import { PackedWeight } from '../../ops/packed';
import { convert, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { BLOCKS } from '../blocks';
import { encodeBlocks } from '../encode-blocks';
import { openWeights } from '../open';
import { quantizeWeights } from '../quantize';
import type { BlockType } from '../stored';
import { ggufTokenizer } from './tokenizer';

const open = (bytes: Uint8Array) => openWeights(new File([bytes as Uint8Array<ArrayBuffer>], 'x.gguf'));

const fixture = readSafetensors(
  readFileSync(new URL('../../../test/fixtures/decoder.safetensors', import.meta.url)),
) as Record<string, HostTensor<'f32' | 'i32'>>;

function parametersOf(name: string): Record<string, HostTensor> {
  const prefix = `${name}/weights/`;
  const own = Object.entries(fixture).filter(([key]) => key.startsWith(prefix));
  return Object.fromEntries(own.map(([key, host]) => [key.slice(prefix.length), host]));
}

describe('decoders', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await createRuntime({ threads: 1 });
  });
  afterAll(() => runtime.dispose());

  test.each(Object.keys(configs) as (keyof typeof configs)[])(
    '%s has names, rows and values of its checkpoint',
    async (name) => {
      const parameters = parametersOf(name);
      await using weights = await open(ggufOfDecoder(configs[name], parameters));
      expect([...weights.tensors.keys()].sort()).toEqual(Object.keys(parameters).sort());
      const read: Record<string, HostTensor> = {};
      for (const [key, { shape, data }] of Object.entries(parameters)) {
        read[key] = await weights.read(key);
        expect([key, read[key].shape]).toEqual([key, shape]);
        expectClose(read[key].data as Float32Array, data as Float32Array, name.startsWith('gemma') ? 3e-7 : 0);
      }
      // The format does not tell which of Gemma's layers have windows, and its scale.
      const decoder = createDecoder((name.startsWith('gemma') ? configs[name] : weights.config) ?? {});
      using tokens = runtime.fromHost(fixture[`${name}/tokens`] as HostTensor<'i32'>);
      const logits = decoder.forward(decoder.load(runtime, read), tokens);
      expectClose(await logits.read(), toFloat64(fixture[`${name}/logits`] as HostTensor), 1e-4);
    },
  );

  test('GPT-2 in blocks, whose matrices are transposed, computes with numbers', async () => {
    const config = { model_type: 'gpt2', n_embd: 32, n_layer: 1, n_head: 2, n_positions: 4, vocab_size: 5 };
    const decoder = createDecoder(config);
    const own = decoder.initialize(runtime, { seed: 1 });
    const hosts: Record<string, HostTensor> = {};
    for (const [key, value] of Object.entries(own)) hosts[key] = await value.toHost();
    await using weights = await open(ggufOfDecoder(config, hosts, {}, (_, x) => [8, encodeBlocks('q8_0', x)]));
    using tokens = runtime.tensor([0, 1, 2, 3], [1, 4], 'i32');
    // The heap never holds anything but the parameters.
    using fresh = await createRuntime({ threads: 1 });
    await decoder.load(fresh, weights, { types: 'stored' });
    const { live, peak } = fresh.memory();
    const bytes = [...weights.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(peak).toBe(live);
    expect(live).toBeGreaterThanOrEqual(bytes);
    expect(live).toBeLessThan(1.1 * bytes);
    const stored = await decoder.load(runtime, weights, { types: 'stored' });
    expect(String(stored['transformer.h.0.mlp.c_fc.weight'])).toContain('PackedWeight(q8 [32, 128]');
    expectClose(await decoder.forward(stored, tokens).read(), await decoder.forward(own, tokens).read(), 0.02);
  });

  test.each(['llama', 'qwen3'])(
    '%s in all types computes with exactly its numbers, if activations are f32',
    async (model) => {
      const config = {
        ...{ model_type: model, hidden_size: 256, intermediate_size: 256, num_hidden_layers: 3, vocab_size: 20 },
        ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64, max_position_embeddings: 8 },
      };
      const decoder = createDecoder(config, { activations: 'f32' });
      const hosts: Record<string, HostTensor> = {};
      for (const [key, value] of Object.entries(decoder.initialize(runtime, { seed: 1 })))
        hosts[key] = await value.toHost();
      let matrices = 0;
      await using weights = await open(
        ggufOfDecoder(config, hosts, {}, (_, x) => {
          const [type, code] = CODES[matrices++ % CODES.length] as (typeof CODES)[number];
          return [code, Object.hasOwn(BLOCKS, type) ? randomBlocks(type as BlockType, x.length) : floatsOf(type, x)];
        }),
      );
      expect(matrices).toBeGreaterThan(CODES.length);
      const [stored, numbers] = [
        await decoder.load(runtime, weights, { types: 'stored' }),
        await decoder.load(runtime, weights),
      ];
      using tokens = runtime.tensor([3, 1, 19, 7], [1, 4], 'i32');
      const expected = await decoder.forward(numbers, tokens).toHost();
      expect(relativeError(await decoder.forward(stored, tokens).toHost(), expected)).toBeLessThan(1e-5);
      const kept = Object.values(stored).filter((each) => each instanceof PackedWeight);
      expect(new Set(kept.map(({ dtype }) => dtype))).toEqual(new Set(['q8', 'q4']));
    },
  );
});

/** What can be read of a matrix, with the format's codes. */
const CODES = [
  ...([
    ['f32', 0],
    ['q5_0', 6],
    ['q4_k', 12],
    ['f16', 1],
    ['q8_0', 8],
    ['q5_1', 7],
  ] as const),
  ...([
    ['q4_0', 2],
    ['q6_k', 14],
    ['bf16', 30],
    ['q4_1', 3],
    ['q5_k', 13],
  ] as const),
] as const;

const floatsOf = (type: string, x: Float32Array) => bytesOf(convert(hostTensor(x, [x.length]), type as 'f16').data);

/** Blocks with integers of all sizes, and scales with all bits of f16. */
function randomBlocks(type: BlockType, count: number): Uint8Array {
  const { numbers, bytes: size, scales } = BLOCKS[type];
  const bytes = Uint8Array.from(normal((count / numbers) * size, count), (x) => 1000 * x);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += size)
    for (const scale of scales)
      view.setUint16(at + scale, (type.endsWith('_k') ? 0x0400 : 0x1400) | (view.getUint16(at + scale) & 0x3ff), true);
  return bytes;
}

const TYPES: GgufTensor[] = [
  { name: 'f32', shape: [2], type: 0, bytes: bytesOf(Float32Array.of(1, 2)) },
  { name: 'f16', shape: [2], type: 1, bytes: bytesOf(Uint16Array.of(0x3c00, 0x4000)) },
  { name: 'bf16', shape: [2], type: 30, bytes: bytesOf(Uint16Array.of(0x3f80, 0x4000)) },
  { name: 'f64', shape: [2], type: 28, bytes: bytesOf(Float64Array.of(1, 2)) },
  { name: 'i8', shape: [2], type: 24, bytes: bytesOf(Int8Array.of(1, 2)) },
  { name: 'i32', shape: [2], type: 26, bytes: bytesOf(Int32Array.of(1, 2)) },
  { name: 'i64', shape: [2], type: 27, bytes: bytesOf(BigInt64Array.of(1n, 2n)) },
  { name: 'scalar', shape: [], type: 0, bytes: bytesOf(Float32Array.of(7)) },
  { name: 'q8_0', shape: [1, 32], type: 8, bytes: Uint8Array.of(0, 0x3c, ...new Array(32).fill(3)) },
];

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

test.each([
  [2, 32],
  [3, 8],
])('version %i with an alignment of %i: elements of all types, and typed values', async (version, alignment) => {
  const metadata: Record<string, GgufValue> = {
    u8: [0, 255],
    i8: [1, -1],
    u16: [2, 65_535],
    i16: [3, -2],
    u32: [4, 2 ** 32 - 1],
    i32: [5, -3],
    f32: [6, 1e-5],
    bool: [7, true],
    text: [8, 'größer'],
    u64: [10, 2n ** 63n],
    i64: [11, -4n],
    f64: [12, 0.1],
    numbers: [9, [6, [0.5, 1]]],
    flags: [9, [7, [true, false]]],
    texts: [9, [8, ['a', '', '\ufeff']]],
    nested: [
      9,
      [
        9,
        [
          [4, [1]],
          [8, ['b']],
        ],
      ],
    ],
    __proto__key: [9, [4, []]],
  };
  await using weights = await open(writeGguf({ version, alignment, metadata, tensors: TYPES }));
  expect(weights.config).toBeUndefined();
  expect({ ...weights.metadata, 'general.alignment': undefined }).toEqual({
    ...Object.fromEntries(Object.entries(metadata).map(([key, [, value]]) => [key, value])),
    numbers: Float32Array.of(0.5, 1),
    flags: [true, false],
    texts: ['a', '', '\ufeff'],
    nested: [Uint32Array.of(1), ['b']],
    __proto__key: new Uint32Array(),
    i64: -4,
    'general.alignment': undefined,
  });
  expect([...weights.tensors.keys()]).toEqual(TYPES.map(({ name }) => name));
  for (const { name, shape } of TYPES.slice(0, 7)) {
    const host = await weights.read(name);
    expect([name, host.dtype, host.shape, ...toFloat64(host)]).toEqual([name, name, shape, 1, 2]);
  }
  expect([...(await weights.read('scalar')).data]).toEqual([7]);
  expect([...(await weights.read('q8_0')).data]).toEqual(new Array(32).fill(3));
});

test('tensors of types that are not read are told, and refused when they are read', async () => {
  const block = { name: 'a', shape: [2, 256], type: 10, bytes: new Uint8Array(2 * 84) };
  const short = { name: 'b', shape: [3], type: 25, bytes: new Uint8Array(6) };
  await using weights = await open(writeGguf({ tensors: [block, short, { ...(TYPES[0] as GgufTensor), name: 'c' }] }));
  const told = [...weights.tensors.values()].map(({ type, byteLength }) => [type, byteLength]);
  expect(told).toEqual([
    ['Q2_K', 168],
    ['I16', 6],
    ['f32', 8],
  ]);
  expect([...(await weights.read('c')).data]).toEqual([1, 2]);
  const refusal = "x.gguf: tensor 'a' has elements of type Q2_K: f32, f16, ";
  await expect(weights.read('a')).rejects.toThrow(refusal);
  await expect(weights.readBlocks('a')).rejects.toThrow(refusal);
  await expect(quantizeWeights(weights, 'never-written', { type: 'q8' })).rejects.toThrow(refusal);
});

test("GPT-2's quantised matrices are read transposed", async () => {
  const numbers = Float32Array.from({ length: 64 }, (_, at) => at % 7);
  const bytes = Uint8Array.from([0, 1].flatMap((row) => [0, 0x3c, ...numbers.subarray(32 * row, 32 * row + 32)]));
  const metadata: Record<string, GgufValue> = { 'general.architecture': [8, 'gpt2'] };
  const tensors = [{ name: 'blk.3.ffn_up.weight', shape: [2, 32], type: 8, bytes }];
  await using weights = await open(writeGguf({ metadata, tensors }));
  const name = 'transformer.h.3.mlp.c_fc.weight';
  const { data, shape } = await weights.read(name);
  expect([shape, ...data]).toEqual([[32, 2], ...numbers.map((_, at) => numbers[(at % 2) * 32 + (at >> 1)] as number)]);
  const part = await weights.read(name, { rows: [3, 5] });
  expect(part.data).toEqual(data.slice(6, 10));
  expect(await weights.readBlocks(name)).toEqual({ type: 'q8_0', shape: [2, 32], bytes, isTransposed: true });
  await expect(weights.readBlocks(name, { rows: [0, 1] })).rejects.toThrow('is transposed');
});

test('the configuration of a decoder', async () => {
  await using weights = await open(ggufOfDecoder(configs.mistral, parametersOf('mistral')));
  expect(weights.config).toEqual({
    model_type: 'mistral',
    vocab_size: 11,
    tie_word_embeddings: false,
    hidden_size: 16,
    num_hidden_layers: 1,
    intermediate_size: 10,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 64,
    sliding_window: 3,
    attention_bias: false,
    mlp_bias: false,
  });
  await using gemma = await open(ggufOfDecoder(configs.gemma3, parametersOf('gemma3')));
  expect(gemma.config).toMatchObject({ rope_scaling: { rope_type: 'linear', factor: 8 }, query_pre_attn_scalar: 6 });
  await using gemma2 = await open(ggufOfDecoder(configs.gemma2, parametersOf('gemma2')));
  expect(gemma2.config).toMatchObject({ attn_logit_softcapping: 1.5, final_logit_softcapping: 2.5, sliding_window: 3 });
});

const TOKENIZER: Record<string, GgufValue> = {
  'tokenizer.ggml.model': [8, 'gpt2'],
  'tokenizer.ggml.pre': [8, 'qwen2'],
  'tokenizer.ggml.tokens': [9, [8, ['a', 'b', 'ab', '<end>']]],
  'tokenizer.ggml.scores': [9, [6, [0, -1, -2, 0]]],
  'tokenizer.ggml.token_type': [9, [5, [1, 1, 1, 3]]],
  'tokenizer.ggml.merges': [9, [8, ['a b']]],
  'tokenizer.ggml.eos_token_id': [4, 3],
  'tokenizer.ggml.seperator_token_id': [4, 0],
  'tokenizer.ggml.add_bos_token': [7, false],
  'tokenizer.chat_template': [8, '{{ messages }}'],
};

test('the tokenizer', async () => {
  const { metadata } = await open(writeGguf({ metadata: TOKENIZER }));
  expect(ggufTokenizer(metadata)).toEqual({
    model: 'gpt2',
    pre: 'qwen2',
    tokens: ['a', 'b', 'ab', '<end>'],
    scores: Float32Array.of(0, -1, -2, 0),
    types: Int32Array.of(1, 1, 1, 3),
    merges: ['a b'],
    special: { eos: 3, separator: 0 },
    addBos: false,
    chatTemplate: '{{ messages }}',
  });
  expect(ggufTokenizer({})).toBeUndefined();
  for (const [key, value, message] of [
    ['tokenizer.ggml.eos_token_id', [4, 4], 'tokenizer.ggml.eos_token_id must be one of 4 tokens, got 4'],
    ['tokenizer.ggml.scores', [9, [6, [1]]], 'tokenizer.ggml.scores must be Float32Array of 4, got a Float32Array'],
    ['tokenizer.ggml.merges', [9, [4, [1]]], 'tokenizer.ggml.merges must be a list of texts, got an Uint32Array'],
    ['tokenizer.chat_template', [4, 1], 'tokenizer.chat_template must be a text, got 1'],
  ] as const) {
    const { metadata } = await open(writeGguf({ metadata: { ...TOKENIZER, [key]: value } }));
    expect(() => ggufTokenizer(metadata)).toThrow(message);
  }
});

describe('files that are split', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const part = (no: number, metadata: Record<string, GgufValue> = {}): Uint8Array => {
    const split = { 'split.no': [2, no], 'split.count': [2, 2], 'split.tensors.count': [5, 2] } as const;
    const tensors = [{ ...(TYPES[no] as GgufTensor), name: `t${no}` }];
    return writeGguf({ metadata: { ...(split as unknown as Record<string, GgufValue>), ...metadata }, tensors });
  };
  const write = (no: number, bytes: Uint8Array) => writeFile(join(folder, `m-0000${no + 1}-of-00002.gguf`), bytes);
  const openPart = (no: number) => openWeights(join(folder, `m-0000${no + 1}-of-00002.gguf`));

  test('have the tensors of all parts', async () => {
    await write(0, part(0, { name: [8, 'm'] }));
    await expect(openPart(0)).rejects.toThrow('is part 1 of 2: there is no m-00002-of-00002.gguf beside it');
    await write(1, part(1));
    for (const weights of [await openPart(0), await openPart(1), await openWeights(folder)]) {
      expect([[...weights.tensors.keys()], weights.metadata.name]).toEqual([['t0', 't1'], 'm']);
      expect(toFloat64(await weights.read('t1'))).toEqual(Float64Array.of(1, 2));
      await weights.close();
    }
  });

  test('of another model are refused', async () => {
    await write(1, part(1, { 'split.count': [2, 3] }));
    await expect(openPart(0)).rejects.toThrow('m-00002-of-00002.gguf: split.count must be 2, got 3');
    await write(1, part(0));
    await expect(openPart(0)).rejects.toThrow('m-00002-of-00002.gguf: split.no must be 1, got 0');
    await write(1, part(1, { 'general.x': [4, 1] }));
    await write(0, part(0, { 'split.tensors.count': [5, 3] }));
    await expect(openPart(0)).rejects.toThrow('expected 3 tensors in 2 parts, got 2');
    await expect(open(part(0))).rejects.toThrow('x.gguf is part 1 of 2: its name must end in -00001-of-00002.gguf');
    await expect(openWeights(new File([part(0) as never], 'x-00001-of-00002.gguf'))).rejects.toThrow(
      'open it from its folder',
    );
  });
});

/** A file with some bytes of it changed. */
function changed(file: GgufFile, at: number, ...bytes: number[]): Uint8Array {
  const written = writeGguf(file);
  written.set(bytes, at);
  return written;
}

const one = (tensor: Partial<GgufTensor>): Uint8Array =>
  writeGguf({ tensors: [{ ...(TYPES[0] as GgufTensor), name: 't', ...tensor }] });
const LARGE = 2n ** 63n;

test.each<[string, Uint8Array, string]>([
  ['version 1', changed({}, 4, 1), 'x.gguf: expected version 2 or 3 of GGUF, got 1'],
  ['big-endian', changed({}, 4, 0, 0, 0, 3), 'x.gguf: big-endian GGUF is not read'],
  ['2^63 tensors', changed({}, 15, 0x80), 'x.gguf: expected at most 65536 tensors, got 9223372036854776000'],
  ['2^63 pairs', changed({}, 23, 0x80), 'x.gguf: expected at most 65536 key-value pairs'],
  ['tensors that are not there', changed({}, 8, 3), "x.gguf: tensor '' takes 4 bytes, 0 are left"],
  [
    '2^63 elements',
    one({ shape: [Number(LARGE)] }),
    "x.gguf: tensor 't': shape must have non-negative integer extents",
  ],
  [
    'elements beyond the file',
    one({ shape: [2 ** 40] }),
    "x.gguf: tensor 't' lies at bytes 64 to 4398046511168, the file has 96",
  ],
  ['a rank', one({ shape: [1, 1, 1, 1, 2] }), "x.gguf: tensor 't' must have at most 4 axes, got 5"],
  ['a type that there is not', one({ type: 99 }), "x.gguf: tensor 't' has elements of type 99"],
  [
    'rows that are no blocks',
    one({ type: 8, shape: [2, 48] }),
    "x.gguf: tensor 't' [2, 48] does not divide into the blocks of 32 of q8_0",
  ],
  ['a scalar in blocks', one({ type: 8, shape: [] }), 'does not divide into the blocks of 32'],
  [
    'the same tensor twice',
    writeGguf({ tensors: [TYPES[0] as GgufTensor, TYPES[0] as GgufTensor] }),
    "x.gguf: two tensors are named 'f32'",
  ],
  [
    'tensors over one another',
    changed({ tensors: TYPES.slice(0, 2).map((tensor, at) => ({ ...tensor, name: `${at}` })) }, 24 + 33 + 25, 0),
    "x.gguf: tensor '0' lies at bytes 96 to 104, over '1'",
  ],
  [
    'an alignment',
    writeGguf({ metadata: { 'general.alignment': [4, 12] } }),
    'x.gguf: general.alignment must be a multiple of 8, got 12',
  ],
  [
    'a text beyond the file',
    changed({ metadata: { a: [8, 'b'] } }, 24 + 13 + 7, 0x80),
    "x.gguf: 'a' takes 9223372036854776000 bytes",
  ],
  ['a list beyond the file', changed({ metadata: { a: [9, [4, []]] } }, 24 + 13 + 4 + 7, 0x80), "x.gguf: 'a' takes"],
  [
    'a list of texts beyond the file',
    changed({ metadata: { a: [9, [8, []]] } }, 24 + 13 + 4 + 7, 0x80),
    "x.gguf: 'a' takes",
  ],
  [
    'lists in lists',
    writeGguf({
      metadata: { a: Array.from({ length: 10 }).reduce<GgufValue>((value) => [9, [9, [value[1]]]], [9, [4, []]]) },
    }),
    "x.gguf: 'a' has lists in lists beyond 8",
  ],
  ['a type of values', changed({ metadata: { a: [4, 1] } }, 24 + 9, 13), "x.gguf: the value of 'a' has type 13"],
  ['a key that is not UTF-8', changed({ metadata: { a: [4, 1] } }, 24 + 8, 0xff), 'x.gguf: key 0 is not UTF-8'],
  [
    'query rows without heads',
    writeGguf({
      metadata: { 'general.architecture': [8, 'llama'], 'llama.attention.head_count': [4, 3] },
      tensors: [{ ...(TYPES[0] as GgufTensor), name: 'blk.0.attn_q.weight' }],
    }),
    "x.gguf: 'blk.0.attn_q.weight' must have rows for 3 heads of an even width, got [2]",
  ],
  [
    'query rows of nothing',
    writeGguf({
      metadata: { 'general.architecture': [8, 'llama'], 'llama.attention.head_count': [4, 2] },
      tensors: [{ name: 'blk.0.attn_q.weight', shape: [2 ** 40, 0], type: 0, bytes: new Uint8Array() }],
    }),
    "x.gguf: 'blk.0.attn_q.weight' must have rows for 2 heads of an even width, got [1099511627776, 0]",
  ],
  [
    'a count that is a text',
    writeGguf({ metadata: { 'general.architecture': [8, 'llama'], 'llama.block_count': [8, 'two'] } }),
    "x.gguf: llama.block_count must be a number, got 'two'",
  ],
])('%s is refused', async (_, bytes, message) => {
  await expect(open(bytes)).rejects.toThrow(message);
});

test('a scale that is no number is found when it is read', async () => {
  const bytes = Uint8Array.from({ length: 34 }, (_, at) => [0, 0x7e][at] ?? 1);
  await using weights = await open(one({ type: 8, shape: [1, 32], bytes }));
  await expect(weights.read('t')).rejects.toThrow("x.gguf: tensor 't': block 0 of q8_0 has a scale that is NaN");
});
