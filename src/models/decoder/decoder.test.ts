import { readFileSync } from 'node:fs';
import { strictObject } from 'valibot';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../../test/backends';
import { relativeError } from '../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../test/expect';
import configs from '../../../test/fixtures/decoder.json';
import { PARAMS } from '../../../test/method-params';
import { scoped } from '../../../test/scoped';
import {
  concat,
  createRuntime,
  defineMaskedMethod,
  defineMethod,
  embedding,
  map,
  matmul,
  type PackedWeight,
  type Runtime,
  rmsNorm,
  sum,
} from '../../index';
import { readSafetensors } from '../../io';
import * as masks from '../../masks';
import {
  dydila,
  exactAttention,
  gatedDeltaRule,
  kernelRidge,
  landmarkAttention,
  lightningAttention,
  localLinearAttention,
  natsLinear,
  neighborhoodAttention,
  parallax,
  performer,
  powerAttention,
  s2Attention,
  sea,
  stochasticAttention,
  transnormer,
} from '../../methods';
import type { Method } from '../../methods/define';
import { methods } from '../../methods/registry';
import { attention as attentionModule } from '../../nn/attention';
import { initial, partOf, type TrainableParameters } from '../../nn/module';
import { TrainingPass } from '../../nn/training';
import { differentiate } from '../../tape';
import { bytesPerElement } from '../../tensor/dtype';
import { convert, type HostTensor, hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { writeCheckpoint } from '../../train/checkpoint';
import { openWeights, packWeight } from '../../weights';
import {
  createDecoder,
  type DecoderAttention,
  type DecoderCache,
  type DecoderForwardOptions,
  insertLandmarks,
  type LayerAttention,
} from '.';

const fixture = readSafetensors(
  readFileSync(new URL('../../../test/fixtures/decoder.safetensors', import.meta.url)),
) as Record<string, HostTensor<'f32' | 'i32'>>;
/** What PyTorch gave for a configuration. */
const given = (name: string) => {
  const of = (part: string) => fixture[`${name}/${part}`]!;
  const all = (part: string) =>
    Object.fromEntries(
      Object.entries(fixture).flatMap(([key, host]) => {
        const prefix = `${name}/${part}/`;
        return key.startsWith(prefix) ? [[key.slice(prefix.length), host]] : [];
      }),
    );
  return {
    tokens: of('tokens'),
    targets: of('targets'),
    logits: of('logits'),
    loss: of('loss'),
    weights: all('weights'),
    gradients: all('gradients'),
  };
};
const names = Object.keys(configs) as (keyof typeof configs)[];

const tiny = { ...configs.llama, vocab_size: 7, hidden_size: 8, intermediate_size: 6, num_hidden_layers: 2 };
const tinyGpt2 = { ...configs.gpt2, vocab_size: 7, n_embd: 8, n_positions: 8 };

describeOnBackends('decoder', (runtime) => {
  test.each(fewOnGpu(names, 1))('%s: logits, loss and gradients are those of PyTorch', (name) =>
    scoped(runtime(), async () => {
      const wanted = given(name);
      const decoder = createDecoder(configs[name]);
      const parameters = decoder.load(runtime(), wanted.weights);
      const [tokens, targets] = [runtime().fromHost(wanted.tokens), runtime().fromHost(wanted.targets)];
      expect(relativeError(await decoder.forward(parameters, tokens).toHost(), wanted.logits)).toBeLessThan(1e-5);
      for (const options of [{}, { recompute: true, chunk: 3 }]) {
        const { loss, gradients } = differentiate((p) => decoder.loss(p, tokens, targets, options), parameters);
        expect((await loss.read())[0]).toBeCloseTo(wanted.loss.data[0] as number, 5);
        for (const [key, gradient] of Object.entries(gradients))
          expect(relativeError(await gradient.toHost(), wanted.gradients[key]!), key).toBeLessThan(3e-5);
      }
    }),
  );

  test('matrices in 16 bits give what the same numbers give in 32, in half the memory', () =>
    scoped(runtime(), async () => {
      const decoder = createDecoder(configs.llama);
      const file = Object.fromEntries(
        Object.entries(given('llama').weights).map(([name, host]) => [name, convert(host, 'bf16')]),
      );
      const tokens = runtime().fromHost(given('llama').tokens);
      const bytesOf = (parameters: object) =>
        Object.values<Tensor>(parameters as never).reduce(
          (sum, { size, dtype }) => sum + size * bytesPerElement(dtype),
          0,
        );
      const [stored, wide] = [{ types: 'stored' } as const, {}].map((options) =>
        decoder.load(runtime(), file, options),
      );
      const [logits, expected] = [stored, wide].map((parameters) => decoder.forward(parameters!, tokens));
      expect(relativeError(await logits!.toHost(), (await expected!.toHost()) as never)).toBeLessThan(1e-5);
      expect(bytesOf(stored!)).toBeLessThan(0.55 * bytesOf(wide!));
    }));

  test('matrices in blocks give what their numbers give, rows of x rounded or not, and gradients through them', () =>
    scoped(runtime(), async () => {
      const config = { ...tiny, vocab_size: 40, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1 };
      const decoder = createDecoder(config, { activations: 'f32' });
      const [packed, numbers]: [Record<string, Tensor | PackedWeight>, Record<string, Tensor>] = [{}, {}];
      for (const [name, x] of Object.entries(decoder.initialize(runtime(), { seed: 1 }))) {
        packed[name] = numbers[name] = x;
        if (x.rank !== 2) continue;
        const weight = packWeight(runtime(), await x.toHost(), { type: name.includes('mlp') ? 'q4' : 'q8' });
        const rows = runtime().arange(x.shape[0] as number, { dtype: 'i32' });
        packed[name] = weight;
        numbers[name] = embedding(weight, rows);
      }
      const tokens = runtime().tensor([1, 2, 3], [1, 3], 'i32');
      const expected = await decoder.forward(numbers, tokens).toHost();
      expect(relativeError(await decoder.forward(packed, tokens).toHost(), expected)).toBeLessThan(1e-5);
      const rounded = await createDecoder(config).forward(packed, tokens).toHost();
      expect(relativeError(rounded, expected)).toBeGreaterThan(1e-5);
      expect(relativeError(rounded, expected)).toBeLessThan(0.05);
      const gain = { 'model.norm.weight': numbers['model.norm.weight']! };
      const [own, wanted] = [packed, numbers].map((all) =>
        differentiate((gain) => decoder.loss({ ...all, ...gain }, tokens, tokens), gain),
      );
      const gradients = await Promise.all([own, wanted].map((each) => each!.gradients['model.norm.weight']!.toHost()));
      expect(relativeError(gradients[0]!, gradients[1]!)).toBeLessThan(1e-4);
      for (const each of Object.values(packed)) each.dispose();
    }));

  test('gives what the attention of a layer takes', () =>
    scoped(runtime(), async () => {
      const decoder = createDecoder(tiny);
      const parameters = decoder.initialize(runtime(), { seed: 1 });
      const tokens = runtime().tensor([1, 2, 3], [1, 3], 'i32');
      const { q, k, v } = decoder.attentionInputs(parameters, tokens, 1);
      expect([q.shape, k.shape, v.shape]).toEqual([
        [1, 3, 4, 2],
        [1, 3, 2, 2],
        [1, 3, 2, 2],
      ]);
      const layers: Promise<HostTensor>[] = [];
      decoder.forward(parameters, tokens, { onLayer: (h) => void layers.push(h.toHost()) });
      const h = runtime().fromHost((await layers[0]) as HostTensor<'f32'>);
      const own = partOf(parameters, 'model.layers.1') as Record<string, Tensor<'f32'>>;
      const normed = rmsNorm(h, { gain: own['input_layernorm.weight'], epsilon: tiny.rms_norm_eps });
      const values = matmul(normed, own['self_attn.v_proj.weight'] as Tensor, { transposeB: true });
      expect(relativeError(await v.reshape([1, 3, 4]).toHost(), await values.toHost())).toBeLessThan(1e-6);
    }));

  test('nothing is kept but the loss and the gradients', async () => {
    const { live } = runtime().memory();
    await scoped(runtime(), async () => {
      const decoder = createDecoder(tiny);
      const parameters = decoder.initialize(runtime(), { seed: 1 });
      const tokens = runtime().tensor([1, 2, 3, 4], [1, 4], 'i32');
      for (const value of Object.values(differentiate((p) => decoder.loss(p, tokens, tokens), parameters).gradients))
        value.dispose();
    });
    await runtime().finish();
    expect(runtime().memory().live).toBe(live);
  });

  test('what does not fit is refused by name', () =>
    scoped(runtime(), async () => {
      const decoder = createDecoder(tiny);
      const parameters = decoder.initialize(runtime());
      const tokens = runtime().tensor([1, 2, 3], [1, 3], 'i32');
      const { 'model.norm.weight': last, ...others } = parameters as Record<string, Tensor>;
      const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
      await refuse(() => decoder.forward(others, tokens), "decoder needs a parameter 'model.norm.weight'");
      await refuse(() => decoder.forward({ ...parameters, bias: last! }, tokens), "decoder has no parameter 'bias'");
      const row = tokens.reshape([3]);
      await refuse(() => decoder.forward(parameters, row), 'tokens must have shape [b, n] and not be empty, got [3]');
      await refuse(() => decoder.forward(parameters, last!), 'tokens must be i32, got f32');
      const less = tokens.slice(1, 0, 2);
      await refuse(
        () => decoder.loss(parameters, tokens, less),
        'targets must have the shape [1, 3] of tokens, got [1, 2]',
      );
      const large = runtime().tensor([1, 7, 3], [1, 3], 'i32');
      await refuse(() => decoder.forward(parameters, large), 'indices must be from 0 to 6, got 7 at element 1');
    }));
});

/** Any method, in all layers or with others. */
const choices: readonly (readonly [string, DecoderAttention])[] = [
  ['power-attention', powerAttention],
  ['parallax', [{ method: parallax, params: { window: 3 } }, parallax]],
  ['local-linear-attention', { method: localLinearAttention as Method, params: { ridge: 1 } }],
  ['a hybrid', [{ method: gatedDeltaRule, rope: false }, exactAttention]],
  ['lightning-attention', { method: lightningAttention as Method, params: { schedule: 'released' } }],
];

const causal = { causal: true };
/** One mask at any length, whose definition takes queries to be all tokens. */
const everyOther = masks.from((_b, _h, q, k) => k <= q && (q - k) % 2 === 0);
const ownMask = defineMaskedMethod({
  name: 'own-mask',
  family: 'own',
  summary: 'every other token',
  params: strictObject({}),
  mask: () => everyOther,
  sees: () => (i, j) => j <= i && (i - j) % 2 === 0,
  variants: () => [{}],
});

/** Kernels of exact attention, and nothing kept but the inputs of all tokens. */
const anew = defineMethod({ ...exactAttention, continuation: () => ({ from: 'inputs' }) });

/** Every way to go on, and every causal method that has a step. */
const going: readonly (readonly [string, DecoderAttention, config?: typeof tinyGpt2])[] = [
  ['a window with sinks', { method: exactAttention as Method, params: { window: [2, 0], sinks: 1, softcap: 5 } }],
  ['exact attention', exactAttention],
  ['a prefix', { method: exactAttention as Method, params: { prefix: 1 } }],
  ...choices,
  ['blocks of a power', { method: powerAttention as Method, params: { block: 1, window: 1, sink: false } }],
  ['s2-attention', { method: s2Attention as Method, params: { block: 1, localBlocks: 1, verticalStride: 2 } }],
  ['performer', { method: performer as Method, params: causal }],
  ['transnormer', { method: transnormer as Method, params: { positions: 'lrpe' } }],
  ['blocks of transnormer', { method: transnormer as Method, params: { attention: 'diag', block: 3 } }],
  [
    'blocks by LRPE and relu',
    [
      { method: transnormer as Method, params: { attention: 'diag', block: 3, positions: 'lrpe' } },
      { method: transnormer as Method, params: { attention: 'diag', block: 3, weights: 'relu' } },
    ],
  ],
  ['estimated maps', { method: sea as Method, params: { cells: 8, keys: 2, positions: 8 } }],
  [
    'chunks in softmax attention or a state',
    [2, 3, 1, 16].map((chunk, at) => ({ method: natsLinear as Method, params: { chunk, forget: at % 2 === 0 } })),
  ],
  ['a mask of its own', ownMask],
  [
    'states that are no inputs',
    [{ method: transnormer as Method }, { method: performer as Method, params: { kernel: 'relu', epsilon: 0.1 } }],
  ],
  [
    'a random order in the last layer',
    [exactAttention, { method: stochasticAttention as Method, params: { window: 2 } }],
  ],
  ['exact attention in GPT-2, whose rows have positions of their own', exactAttention, tinyGpt2],
  ['all ways', [lightningAttention, exactAttention, localLinearAttention]],
];

/** A decoder and what it has seen: steps are compared with all tokens at once. */
function decoding(runtime: Runtime, attention: DecoderAttention, config: object = tiny) {
  const layers = Array.isArray(attention) ? attention.length : 2;
  const depth = { num_hidden_layers: layers, n_layer: layers, initializer_range: 0.5 };
  const decoder = createDecoder({ ...config, ...depth }, { attention });
  const parameters = decoder.initialize(runtime, { seed: 5 });
  const tokensOf = (rows: readonly (readonly number[])[]) => {
    const n = Math.max(1, ...rows.map(({ length }) => length));
    const padded = rows.flatMap((row) => Array.from({ length: n }, (_, at) => row[at] ?? 0));
    return runtime.tensor(padded, [rows.length, n], 'i32');
  };
  /** Adds tokens to the rows of a cache and to their texts. */
  async function go(cache: DecoderCache, texts: number[][], added: readonly (readonly number[])[]): Promise<void> {
    const counts = added.map(({ length }) => length);
    const logits = decoder.step(parameters, tokensOf(added), cache, { counts });
    for (const [row, more] of added.entries()) {
      const text = texts[row] as number[];
      text.push(...more);
      if (more.length === 0) continue;
      const wanted = decoder.forward(parameters, tokensOf([text])).slice(1, text.length - 1, text.length);
      const given = await logits.slice(0, row, row + 1).toHost();
      expect(relativeError(given, await wanted.reshape([1, 7]).toHost()), `row ${row}`).toBeLessThan(2e-5);
    }
    expect(cache.lengths).toEqual(texts.map(({ length }) => length));
  }
  return { decoder, parameters, go };
}

describeOnBackends('decoder by other methods', (runtime) => {
  test.each(fewOnGpu(going, 1))('%s: rows of any lengths, forks and what is taken back', (_, attention, config) =>
    scoped(runtime(), async () => {
      const { decoder, go } = decoding(runtime(), attention as DecoderAttention, config as object);
      const cache = decoder.cache(runtime(), { rows: 2, capacity: 8 });
      const texts: number[][] = [[], []];
      await go(cache, texts, [
        [1, 2, 3, 4],
        [5, 6],
      ]);
      await go(cache, texts, [[0], [3]]);
      const fork = cache.fork([1, 0, 1]);
      const forked = [1, 0, 1].map((row) => [...(texts[row] as number[])]);
      await go(fork, forked, [[1, 2], [5], []]);
      const [first] = texts.map((text) => [...text]);
      await go(cache, texts, [
        [6, 6],
        [2, 1],
      ]);
      // One row's last step is taken back, the other stays.
      cache.truncate([5, 5]);
      texts[0] = first as number[];
      await go(cache, texts, [[2], [4, 4]]);
      await go(fork, forked, [[1], [1], [1]]);
      cache.truncate(0);
      const even: number[][] = [[], []];
      await go(cache, even, [
        [3, 1],
        [2, 2],
      ]);
      await go(cache, even, [[3], [4]]);
      cache.dispose();
      await go(fork, forked, [[4], [0], [6]]);
      fork.dispose();
    }),
  );

  test('states, keys and inputs that were saved go on as they would have', () =>
    scoped(runtime(), async () => {
      const attention = [
        lightningAttention,
        exactAttention,
        localLinearAttention,
        { method: performer as Method },
      ] as unknown as DecoderAttention;
      const { decoder, parameters, go } = decoding(runtime(), attention);
      const opened = () => decoder.cache(runtime(), { rows: 2, capacity: 8 });
      using cache = opened();
      const texts: number[][] = [[], []];
      await go(cache, texts, [[1, 2, 3], [4]]);
      const saved = await cache.save();
      using other = opened();
      await other.restore(saved, parameters);
      expect(other.lengths).toEqual([3, 1]);
      const tokens = runtime().tensor([5, 6], [2, 1], 'i32');
      const [expected, found] = [cache, other].map((each) => decoder.step(parameters, tokens, each));
      // The reference keeps float64, and saves float32.
      expectClose(await found!.read(), await expected!.read(), 1e-5);
      using empty = opened();
      const name = Object.keys(saved).find((each) => each.endsWith('.keySum'))!;
      const { [name]: _, ...lacking } = saved;
      await expect(empty.restore(lacking, parameters)).rejects.toThrow(
        "saved must have '2.keySum' of 2 rows, as performer keeps it, got none",
      );
      const [k] = Object.keys(saved).filter((each) => each.endsWith('.1.k'));
      const short = hostTensor(new Float32Array(16), [2, 2, 2, 2]);
      await expect(empty.restore({ ...saved, [k!]: short }, parameters)).rejects.toThrow(
        'rows with 3 tokens, as local',
      );
      await empty.restore(saved, parameters);
      expect(empty.lengths).toEqual([3, 1]);
    }));

  test('a cache and its forks give their memory back', async () => {
    const { live } = runtime().memory();
    const decoder = createDecoder(tiny, { attention: [gatedDeltaRule, anew] });
    const parameters = decoder.initialize(runtime());
    const step = (cache: DecoderCache, tokens: number[]) =>
      runtime().scope(() => {
        const rows = runtime().tensor(tokens, [cache.rows, tokens.length / cache.rows], 'i32');
        decoder.step(parameters, rows, cache, {
          counts: Array.from({ length: cache.rows }, (_, row) => 1 + (row % 2)),
        });
      });
    {
      using cache = decoder.cache(runtime(), { rows: 2, capacity: 8 });
      const empty = runtime().memory().live;
      step(cache, [1, 2, 3, 4]);
      using fork = cache.fork([1, 0, 0]);
      step(fork, [1, 2, 3, 4, 5, 6]);
      step(cache, [1, 2, 3, 4]);
      cache.truncate([1, 4]);
      step(cache, [1, 2, 3, 4]);
      await runtime().finish();
      // A tensor may take a little more than its elements.
      const held = runtime().memory().live - empty;
      expect(held).toBeGreaterThanOrEqual(cache.bytes + fork.bytes);
      cache.truncate(0);
      expect(cache.bytes).toBe(0);
    }
    for (const parameter of Object.values(parameters)) parameter.dispose();
    await runtime().finish();
    expect(runtime().memory().live).toBe(live);
  });

  test('what a step does that throws, or whose results are at fault, is taken back', () =>
    scoped(runtime(), async () => {
      let isThrown = false;
      const throwing = defineMethod({
        ...anew,
        forward(...given) {
          if (isThrown) throw new Error('a step that throws');
          return anew.forward(...given);
        },
      });
      const { decoder, parameters, go } = decoding(runtime(), [gatedDeltaRule, exactAttention, throwing]);
      using cache = decoder.cache(runtime(), { rows: 2, capacity: 6 });
      const texts: number[][] = [[], []];
      await go(cache, texts, [[1, 2], [3]]);
      const tokens = runtime().tensor([4, 7], [2, 1], 'i32');
      await expect(decoder.step(parameters, tokens, cache).read()).rejects.toThrow(
        'indices must be from 0 to 6, got 7',
      );
      cache.truncate([2, 1]);
      isThrown = true;
      expect(() => decoder.step(parameters, tokens, cache)).toThrow('a step that throws');
      isThrown = false;
      await go(cache, texts, [[4], [5, 6]]);
    }));

  test.each(fewOnGpu(choices, 1))('%s: tokens do not see later ones', (_, attention) =>
    scoped(runtime(), async () => {
      const decoder = createDecoder(tiny, { attention });
      const parameters = decoder.initialize(runtime(), { seed: 3 });
      const logits = (tokens: number[]) =>
        decoder.forward(parameters, runtime().tensor(tokens, [1, tokens.length], 'i32')).read();
      const [before, after] = [await logits([1, 2, 3, 4, 5]), await logits([1, 2, 3, 6, 0])];
      expect(before.subarray(0, 21)).toEqual(after.subarray(0, 21));
      expect(before.subarray(21)).not.toEqual(after.subarray(21));
    }),
  );
});

/** In the place of the defaults, settings of methods that let tokens see later ones, or might seem to. */
const SETTINGS: Readonly<Record<string, readonly Record<string, unknown>[]>> = {
  attention: [
    ...[{ prefix: 4 }, { prefix: 1 }, { causal: false }, { window: [3, 3] }, { window: [3, 0], sinks: 1, prefix: 2 }],
    ...[
      { causal: false, window: [3, 0] },
      { causal: false, window: [2, 0], sinks: 3 },
    ],
  ],
  's2-attention': [{ block: 2, localBlocks: 2 }, ...[{ block: 2, localBlocks: 1, positions: 'relative' }]],
  'power-attention': [{ block: 2, window: 2 }],
  'stochastic-attention': [true, false].flatMap((causal) => [
    ...[
      { window: 3, causal },
      { window: 3, causal, gated: true },
      { window: 3, causal, clamped: true },
    ],
    ...(causal ? [{ window: 3, causal, strict: true }] : []),
  ]),
  'nats-linear': [{ chunk: 2 }],
  'landmark-attention': [{ block: 2 }, { block: 2, topBlocks: 1 }],
  sea: [
    { cells: 8, keys: 2 },
    { cells: 8, causal: false },
  ],
  performer: [{}, { epsilon: 0.1 }, { epsilon: 0.1, kernel: 'relu' }, { causal: false }],
  transnormer: [
    {},
    { attention: 'diag', block: 4 },
    { attention: 'diag', block: 4, causal: false },
    { positions: 'lrpe' },
  ],
  'local-linear-attention': [{ ridge: 1 }, { ridge: 1, causal: false }],
  parallax: [{}, { window: 3 }, { window: 3, causal: false }, { causal: false }],
};

describe('methods of a decoder', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  });
  afterAll(() => runtime.dispose());

  test('rotations follow from how many positions there are', () =>
    scoped(runtime, async () => {
      const { rope_scaling: scaling, ...phi3 } = configs.phi3;
      const logits = async (config: object, count: number, capacity?: number) => {
        const decoder = createDecoder(config as typeof phi3);
        const given = decoder.initialize(runtime, { seed: 1 });
        const tokens = runtime.tensor([...new Array(count).keys()], [1, count], 'i32');
        if (!capacity) return (await decoder.forward(given, tokens).read()).slice(-phi3.vocab_size);
        using cache = decoder.cache(runtime, { capacity });
        return decoder.step(given, tokens, cache).read();
      };
      const factor = (name: 'short_factor' | 'long_factor') => ({
        ...phi3,
        rope_scaling: { type: 'factors', factors: scaling[name], attention_factor: Math.sqrt(3) },
      });
      expect(await logits(configs.phi3, 4)).toEqual(await logits(factor('short_factor'), 4));
      expect(await logits(configs.phi3, 5)).toEqual(await logits(factor('long_factor'), 5));
      expectClose(await logits(configs.phi3, 3, 4), await logits(factor('short_factor'), 3), 1e-5);
      expectClose(await logits(configs.phi3, 3, 5), await logits(factor('long_factor'), 3), 1e-5);
      const grows = { ...configs.llama, max_position_embeddings: 4, rope_scaling: { rope_type: 'dynamic', factor: 2 } };
      const plain = (theta: number) => ({ ...configs.llama, rope_scaling: null, rope_theta: theta });
      expect(await logits(grows, 4)).toEqual(await logits(plain(500), 4));
      // Theta times (2 * 6 / 4 - 1)^(d / (d - 2)).
      expect(await logits(grows, 6)).toEqual(await logits(plain(2000), 6));
    }));
  const onSequences = methods.filter(
    ({ inputs: { q }, params }) => q !== undefined && !q.includes('...space') && !('grid' in params.entries),
  );
  /** Undefined for what a decoder refuses. */
  const decoderOf = (config: object, attention: LayerAttention) => {
    try {
      return createDecoder({ ...tiny, ...config }, { attention });
    } catch (error) {
      expect(String(error)).toContain(`${attention.method.name} lets tokens see later ones`);
      return undefined;
    }
  };

  test('NormAttention and Performer keep one state, whatever the number of tokens', () =>
    scoped(runtime, async () => {
      const attention: LayerAttention[] = [
        { method: transnormer as Method },
        { method: transnormer as Method, params: { positions: 'lrpe' } },
        { method: performer as Method },
        { method: performer as Method, params: { kernel: 'relu' } },
      ];
      const decoder = createDecoder({ ...tiny, num_hidden_layers: 4 }, { attention });
      using cache = decoder.cache(runtime, { capacity: 64 });
      const given = decoder.initialize(runtime, { seed: 1 });
      const bytes: number[] = [];
      for (const count of [1, 1, 30]) {
        await decoder.step(given, runtime.tensor(new Int32Array(count), [1, count], 'i32'), cache).read();
        bytes.push(cache.bytes);
      }
      // The current one, and that of the step before.
      expect(bytes[1]).toBe(2 * bytes[0]!);
      expect(bytes[2]).toBe(bytes[1]);
    }));

  test('a step of local linear attention solves for the new tokens alone', () =>
    scoped(runtime, async () => {
      const decoder = createDecoder(tiny, { attention: localLinearAttention as Method });
      using cache = decoder.cache(runtime, { capacity: 64 });
      const given = decoder.initialize(runtime, { seed: 1 });
      const forward = vi.spyOn(localLinearAttention, 'forward');
      for (const count of [7, 1, 2])
        await decoder.step(given, runtime.tensor(new Int32Array(count), [1, count], 'i32'), cache).read();
      const extents = forward.mock.calls.map(([{ q, k }]) => [q.shape[1], k.shape[1]]);
      forward.mockRestore();
      expect(extents).toEqual(
        [
          [7, 7],
          [1, 8],
          [2, 10],
        ].flatMap((each) => [each, each]),
      );
    }));

  test('random orders are drawn anew in each layer and each pass of training, and are the same again', () =>
    scoped(runtime, async () => {
      const [n, layers] = [96, 3];
      const config = { ...tiny, vocab_size: n, num_hidden_layers: layers, tie_word_embeddings: false };
      const decoder = createDecoder(config, { attention: { method: stochasticAttention, params: { window: 6 } } });
      const parameters = decoder.initialize(runtime, { seed: 1 });
      const tokens = runtime.tensor([...new Array(n).keys()], [1, n], 'i32');
      /** Which tokens the last one hears of. */
      const heard = async (options: DecoderForwardOptions) => {
        const last = (own: TrainableParameters) => sum(decoder.forward(own, tokens, options).slice(1, n - 1, n));
        const { gradients } = differentiate(last, parameters);
        const rows = await sum(
          map((x) => Math.abs(x), gradients['model.embed_tokens.weight']!),
          { axes: [1] },
        ).read();
        return [...rows].map((row) => row > 0);
      };
      const before = await heard({});
      // With one order for all layers there are at most 1 + 3 * 2 * 5.
      expect(before.filter(Boolean).length).toBeGreaterThan(40);
      expect(await heard({})).toEqual(before);
      const [first, second] = [0, 1].map((pass) => () => heard({ training: new TrainingPass(pass) }));
      const inFirst = await first!();
      expect(inFirst).not.toEqual(before);
      expect(await second!()).not.toEqual(inFirst);
      expect(await heard({ training: new TrainingPass(0), recompute: true })).toEqual(inFirst);
      expect(await heard({ training: new TrainingPass(0), attend: (_, __, own) => own() })).toEqual(inFirst);
    }));

  test('are those, and only those, by which tokens see no later ones', () =>
    scoped(runtime, async () => {
      const [n, width] = [8, 8];
      const [x, y] = [runtime.random([1, n, width], { seed: 1 }), runtime.random([1, n, width], { seed: 2 })];
      const changed = [1, 3, n - 1].map(
        (at) => [at, concat([x.slice(1, 0, at), y.slice(1, at, n)] as Tensor<'f32'>[], 1)] as const,
      );
      const taken = new Map<string, boolean>();
      for (const method of onSequences)
        for (const given of SETTINGS[method.name] ?? [PARAMS[method.name] ?? {}]) {
          const params = { ...('causal' in method.params.entries && { causal: true }), ...given };
          const layer = attentionModule({ width, heads: 2, method, params });
          const parameters = initial(layer, runtime, 3);
          // Large enough that one token counts.
          for (const each of ['q', 'k', 'v', 'o'])
            parameters[`${each}_proj.weight`] = runtime.random([width, width], { seed: each.charCodeAt(0) });
          const outputs = (tokens: Tensor, at: number) => layer.forward(tokens, parameters).slice(1, 0, at).toHost();
          const differences = changed.map(async ([at, other]) =>
            relativeError(await outputs(other, at), await outputs(x, at)),
          );
          const difference = Math.max(...(await Promise.all(differences)));
          const label = `${method.name} ${JSON.stringify(given)}`;
          taken.set(label, decoderOf({}, { method, params: given }) !== undefined);
          expect(difference < 1e-5, label).toBe(taken.get(label));
          expect(difference < 1e-5 || difference > 1e-3, `${label} ${difference}`).toBe(true);
        }
      expect([...taken.values()].filter(Boolean).length).toBeGreaterThan(15);
    }));

  test('have parameters of other names than the layers of every architecture, and take a step in each', () =>
    scoped(runtime, async () => {
      const tokens = runtime.tensor([1, 2, 3, 4, 5, 0], [2, 3], 'i32');
      const bias = { attention_bias: true, head_dim: 4, initializer_range: 0.01 };
      let steps = 0;
      for (const model_type of ['llama', 'mistral', 'qwen2', 'qwen3', 'gpt2'])
        for (const method of onSequences) {
          const { name } = method;
          const own = { ...(model_type === 'gpt2' && tinyGpt2), n_layer: 1, model_type, num_hidden_layers: 1 };
          const decoder = decoderOf({ ...own, ...bias }, { method, params: PARAMS[name] });
          if (!decoder) continue;
          await scoped(runtime, async () => {
            const parameters = decoder.initialize(runtime, { seed: 1 });
            const isTrained = method.gradient !== false;
            const { loss, gradients } = isTrained
              ? differentiate((p) => decoder.loss(p, tokens, tokens), parameters)
              : { loss: decoder.loss(parameters, tokens, tokens), gradients: {} };
            expect((await loss.read())[0], `${model_type} ${name}`).toBeCloseTo(Math.log(7), 1);
            expect(Object.keys(gradients)).toEqual(isTrained ? Object.keys(decoder.parameters) : []);
            await Promise.all(Object.values(gradients).map((each) => each.read()));
            using cache = decoder.cache(runtime, { rows: 2, capacity: 3 });
            expect((await decoder.step(parameters, tokens, cache).read()).every(Number.isFinite), name).toBe(true);
          });
          steps++;
        }
      expect(steps).toBe(5 * 17);
    }));

  test('what does not fit a cache is refused by name', () =>
    scoped(runtime, async () => {
      const { decoder, parameters, go } = decoding(runtime, [exactAttention, gatedDeltaRule, localLinearAttention]);
      using cache = decoder.cache(runtime, { rows: 2, capacity: 6, history: 2 });
      const texts: number[][] = [[], []];
      await go(cache, texts, [[1, 2, 3], [4]]);
      await go(cache, texts, [[1], [2]]);
      await go(cache, texts, [[1], [2]]);
      const tokens = runtime.tensor([1, 2, 3, 4], [2, 2], 'i32');
      const refusals: readonly (readonly [() => unknown, string])[] = [
        [() => decoder.step(parameters, tokens, cache), 'row 0 would have 7 tokens, more than the capacity 6 of the'],
        [
          () => decoder.step(parameters, tokens, cache, { counts: [1, 3] }),
          'counts[1] must be an integer from 0 to 2, got 3',
        ],
        [() => cache.truncate([5, 4]), 'lengths[1] must be at most 3, the tokens of layer 0 (attention), got 4'],
        [() => cache.truncate([5, -1]), 'lengths[1] must be an integer >= 0, got -1'],
        [() => cache.fork([2]), 'rows[0] must be an integer from 0 to 1, got 2'],
        [() => decoder.cache(runtime, { capacity: 6, history: 0 }), 'history must be an integer >= 1, got 0'],
      ];
      for (const [call, message] of refusals) expect(call).toThrow(message);
      const states = 'lengths[0] must be 0 or 3 or 4 or 5, where layer 1 (gated-delta-rule) keeps a state, got 2';
      expect(() => cache.truncate([2, 1])).toThrow(states);
      cache.truncate([3, 1]);
      await go(cache, [[1, 2, 3], [4]], [[5, 6], [1]]);
      const routed = createDecoder(tiny, { attention: { method: natsLinear as Method, params: { chunk: 2 } } });
      using chunks = routed.cache(runtime, { capacity: 8 });
      const own = routed.initialize(runtime);
      for (const count of [3, 4]) routed.step(own, runtime.tensor(new Int32Array(count), [1, count], 'i32'), chunks);
      const borders =
        'lengths[0] must be 0 or from 2 to 3 or from 6 to 7, where layer 0 (nats-linear) keeps a state, got 4';
      expect(() => chunks.truncate(4)).toThrow(borders);
      const together = defineMethod({ ...natsLinear, continuation: () => ({ from: 'inputs' }) }) as Method;
      expect(() => createDecoder(tiny, { attention: { method: together } }).cache(runtime, { capacity: 6 })).toThrow(
        'layer 0: nats-linear cannot go on from tokens that it has seen, as its input route is of several together',
      );
      const shuffled = { method: stochasticAttention as Method, params: { window: 2 } };
      expect(() => createDecoder(tiny, { attention: shuffled }).cache(runtime, { capacity: 6 })).toThrow(
        'layer 0: stochastic-attention can go on from tokens that it has seen only in the last layer, as its results',
      );
    }));
});

describe('createDecoder', () => {
  test('counts the operations of a forward pass', () => {
    // Projections 2 x 8 x 8 and what is smaller by grouping, three of 8 x 6, the head 7 x 8, and attention to what comes before.
    const { num_attention_heads: h, num_key_value_heads: g } = tiny;
    const d = 8 / h;
    const layer = 2 * 64 + 2 * 8 * g * d + 3 * 48;
    const [b, n] = [3, 5];
    const attention = 4 * d * h * b * ((n * (n + 1)) / 2);
    expect(createDecoder(tiny).flops(b, n)).toBe(2 * (2 * layer + 56) * b * n + 2 * attention);
    expect(() => createDecoder(tiny).flops(0, 1)).toThrow('b must be an integer >= 1, got 0');
  });

  test('has the parameters of a configuration', () => {
    const { parameters } = createDecoder(configs.qwen3);
    expect(Object.fromEntries(Object.entries(parameters).map(([name, { shape }]) => [name, shape]))).toEqual(
      Object.fromEntries(Object.entries(given('qwen3').weights).map(([name, { shape }]) => [name, shape])),
    );
    expect(partOf(parameters, 'model.layers.0')['mlp.up_proj.weight']?.initial).toEqual({ std: 0.02 });
  });

  test('refuses configurations by name', () => {
    const make = (more: object) => () => createDecoder({ ...tiny, ...more });
    expect(make({ model_type: 'mamba' })).toThrow(
      "model_type of config must be one of llama, mistral, qwen2, qwen3, gemma2, gemma3_text, phi3, gpt2, got 'mamba'",
    );
    expect(make({ hidden_size: undefined })).toThrow('hidden_size of config must be an integer >= 1, got undefined');
    expect(make({ num_key_value_heads: 3 })).toThrow('num_key_value_heads of config must be a divisor of num_att');
    expect(make({ num_hidden_layers: 1e9 })).toThrow(
      'num_hidden_layers of config must be an integer from 1 to 1024, got 1000000000',
    );
    expect(make({ num_attention_heads: 1e9, head_dim: 2 })).toThrow(
      'num_attention_heads of config must be an integer from',
    );
    expect(make({ hidden_act: 'tanh' })).toThrow('hidden_act of config must be one of silu, gelu, gelu_new');
    expect(make({ rope_scaling: { type: 'dynamic' } })).toThrow('factor of rope_parameters of config must be a number');
    expect(make({ rope_scaling: { type: 'longrope', short_factor: [1] } })).toThrow(
      'long_factor of rope_parameters of config must be 1 numbers',
    );
    expect(make({ rope_scaling: { type: 'ntk' } })).toThrow('rope_type of config must be one of default, linear');
    expect(make({ quantization_config: {} })).toThrow(
      'config has quantization_config an object, which is not supported',
    );
    expect(make({ model_type: 'qwen3', layer_types: ['full_attention'] })).toThrow('layer_types of config must be one');
    const gpt2 = (more: object) => () => createDecoder({ ...tinyGpt2, ...more });
    expect(gpt2({ n_head: 3 })).toThrow('n_head of config must be a divisor of n_embd 8 with heads up to 256, got 3');
    expect(gpt2({ scale_attn_weights: false })).toThrow('config has scale_attn_weights false, which is not supported');
    const gemma = (more: object) => () => createDecoder({ ...configs.gemma2, ...more });
    expect(gemma({ final_logit_softcapping: 0 })).toThrow(
      'final_logit_softcapping of config must be a positive number',
    );
    expect(gemma({ final_logit_softcapping: null, attn_logit_softcapping: null })).not.toThrow();
    expect(() => createDecoder({ ...configs.phi3, partial_rotary_factor: 0.4 })).toThrow(
      'partial_rotary_factor of config must be a share up to 1 of head_dim 8 that is an even number, got 0.4',
    );
    expect(make({ partial_rotary_factor: 0.5 })).toThrow(
      'config has partial_rotary_factor 0.5, which is not supported',
    );
    expect(make({ rms_norm_eps: -1 })).toThrow('rms_norm_eps of config must be a finite number >= 0, got -1');
  });

  test('refuses more tokens than GPT-2 has positions for', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const decoder = createDecoder(tinyGpt2);
    const parameters = decoder.initialize(runtime);
    const tokens = runtime.tensor(new Int32Array(9), [1, 9], 'i32');
    const refusal = 'must be at most 8, for which there are positions, got 9';
    expect(() => decoder.forward(parameters, tokens)).toThrow(`tokens ${refusal}`);
    expect(() => decoder.cache(runtime, { capacity: 9 })).toThrow(`capacity ${refusal}`);
  });

  test('refuses methods that a decoder cannot use, and says where', () => {
    const make = (attention: unknown) => () => createDecoder(tiny, { attention: attention as DecoderAttention });
    expect(make(kernelRidge)).toThrow(
      'method of attention of layer 0 must take q, k and v, but kernel-ridge takes no q',
    );
    expect(make(dydila)).toThrow('attention of layer 0: dydila lets tokens see later ones');
    expect(make([exactAttention, { method: exactAttention, params: { causal: false } }])).toThrow(
      'attention of layer 1: attention lets tokens see later ones by its param causal, false, but a decoder must',
    );
    expect(make({ method: exactAttention, params: { window: [3, 0], prefix: 4 } })).toThrow('by its param prefix, 4,');
    expect(make({ method: s2Attention, params: { positions: 'relative' } })).toThrow("by its param positions, 'rel");
    expect(make({ method: performer, params: { epsilon: 0.1 } })).toThrow('by its param epsilon, 0.1, but');
    expect(make({ method: neighborhoodAttention, params: { window: 3 } })).toThrow('takes tokens on a grid');
    expect(make([exactAttention])).toThrow('attention must be one for each of 2 layers, got 1');
    const wanted = 'must be a method: one of saccade/methods, or what findMethod or defineMethod returns, got';
    expect(make('attention')).toThrow(`method of attention of layer 0 ${wanted} 'attention'`);
    expect(make([exactAttention, { method: {} }])).toThrow(`method of attention of layer 1 ${wanted} an object`);
    expect(make({ method: exactAttention, params: { window: 1 } })).toThrow('param window of attention');
  });

  test('takes a list of names that checkpoints have, and names what is amiss in others', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const decoder = createDecoder(configs.qwen3);
    const { weights } = given('qwen3');
    const renamed = Object.fromEntries(
      Object.entries(weights).map(([name, host]) => [name.replace('model.', 'module.'), host]),
    );
    const buffers = {
      'lm_head.weight': weights['model.embed_tokens.weight']!,
      'layers.0.rotary_emb.inv_freq': weights['model.norm.weight']!,
    };
    expect(Object.keys(decoder.load(runtime, { ...renamed, ...buffers }))).toEqual(Object.keys(decoder.parameters));
    const history = { losses: [1], gradientNorms: [1], validation: [] };
    const checkpoint = writeCheckpoint({
      steps: 1,
      settings: {},
      history,
      parameters: weights,
      state: { 'model.norm.weight.mean': weights['model.norm.weight']! },
    });
    const opened = await openWeights(new File([checkpoint as Uint8Array<ArrayBuffer>], 'last.safetensors'));
    for (const loaded of [decoder.load(runtime, readSafetensors(checkpoint)), await decoder.load(runtime, opened)])
      expect((await loaded['model.norm.weight']!.toHost()).data).toEqual(weights['model.norm.weight']!.data);
    const ofGpt2 = createDecoder(configs.gpt2);
    const bare = Object.entries(given('gpt2').weights).map(([name, host]) => [name.replace('transformer.', ''), host]);
    const masks = { 'h.0.attn.bias': weights['model.norm.weight']!, 'h.1.attn.masked_bias': buffers['lm_head.weight'] };
    const published = { ...Object.fromEntries(bare), ...masks };
    expect(Object.keys(ofGpt2.load(runtime, published))).toEqual(Object.keys(ofGpt2.parameters));
    const { 'model.norm.weight': _, ...others } = weights;
    expect(() => decoder.load(runtime, others)).toThrow('weights have no tensor model.norm.weight');
    expect(() => decoder.load(runtime, { ...weights, 'h.0': weights['model.norm.weight']! })).toThrow(
      "weights have a tensor 'h.0' too many",
    );
    const wrong = { ...weights, 'model.norm.weight': hostTensor(new Float32Array(4), [4]) };
    expect(() => decoder.load(runtime, wrong)).toThrow('model.norm.weight must have shape [16], got [4]');
  });
});

describeOnBackends('landmarks in a decoder', (runtime) => {
  const config = { ...tiny, num_hidden_layers: 2, initializer_range: 0.5 };
  const method = landmarkAttention as Method;

  test('come by themselves in prompts and steps; retrieval of all blocks is one pass', () =>
    scoped(runtime(), async () => {
      for (const params of [{ block: 2 }, { block: 2, topBlocks: 9 }]) {
        const decoder = createDecoder(config, { attention: { method, params } });
        const parameters = decoder.initialize(runtime(), { seed: 5 });
        expect(decoder.landmarks).toEqual({ every: 2, token: 6 });
        const cache = decoder.cache(runtime(), { rows: 2, capacity: 16 });
        const texts: number[][] = [[], []];
        const go = async (added: number[][]) => {
          const n = Math.max(...added.map(({ length }) => length));
          const all = added.flatMap((row) => Array.from({ length: n }, (_, at) => row[at] ?? 0));
          const counts = added.map(({ length }) => length);
          const logits = decoder.step(parameters, runtime().tensor(all, [2, n], 'i32'), cache, { counts });
          for (const [row, more] of added.entries()) {
            const text = texts[row] as number[];
            text.push(...more);
            if (more.length === 0) continue;
            const tokens = insertLandmarks(text, decoder.landmarks!);
            const at = tokens.findLastIndex((token) => token !== 6);
            const wanted = decoder.forward(parameters, runtime().tensor(tokens, [1, tokens.length], 'i32'));
            const own = await wanted
              .slice(1, at, at + 1)
              .reshape([1, 7])
              .toHost();
            expect(relativeError(await logits.slice(0, row, row + 1).toHost(), own)).toBeLessThan(2e-5);
          }
          expect(cache.lengths).toEqual(texts.map(({ length }) => length));
        };
        await go([
          [1, 2, 3, 4, 5],
          [5, 4],
        ]);
        await go([[0], [3]]);
        cache.truncate([5, 3]);
        texts[0]?.pop();
        await go([[2, 1, 1], []]);
        const fork = cache.fork([1]);
        expect(fork.lengths).toEqual([3]);
        expect(cache.slowBytes).toBeLessThan(cache.bytes);
        fork.dispose();
        cache.dispose();
      }
    }));

  test('what does not fit is refused by name', () => {
    const two = [2, 3].map((block) => ({ method, params: { block } }));
    expect(() => createDecoder(config, { attention: two })).toThrow('attention of layer 1: its block must be 2');
    const other = { ...config, landmark_token_id: 7 } as typeof config;
    expect(() => createDecoder(other, { attention: method })).toThrow('landmark_token_id of the configuration');
    const trained = { ...config, landmark_every: 3 } as typeof config;
    expect(() => createDecoder(trained, { attention: { method, params: { block: 2 } } })).toThrow('block must be 3');
  });

  test('what a step opens stands behind the context-miss token, and is left out where that weighs too little', () =>
    scoped(runtime(), async () => {
      const single = { ...config, num_hidden_layers: 1 };
      const last = async (params: object, given: readonly number[]) => {
        const decoder = createDecoder(single, {
          attention: { method, params: { block: 2, contextMiss: true, ...params } },
        });
        const parameters = decoder.initialize(runtime(), { seed: 5 });
        const row = (tokens: readonly number[]) => runtime().tensor([...tokens], [1, tokens.length], 'i32');
        using cache = decoder.cache(runtime(), { capacity: 8 });
        decoder.step(parameters, row(given.slice(0, -1)), cache);
        const own = await decoder.step(parameters, row(given.slice(-1)), cache).toHost();
        const tokens = insertLandmarks(given, decoder.landmarks!);
        const inputs = { gated: row(tokens.map(() => 1)).reshape([tokens.length]) };
        const all = decoder.forward(parameters, row(tokens), { inputs });
        const at = tokens.findLastIndex((token) => token !== 6);
        const wanted = await all
          .slice(1, at, at + 1)
          .reshape([1, 7])
          .toHost();
        return { own, wanted };
      };
      const text = [1, 2, 3, 4, 5, 0];
      const { own, wanted } = await last({ topBlocks: 9 }, text);
      expect(relativeError(own, wanted)).toBeLessThan(2e-5);
      const few = await last({ topBlocks: 9, missBelow: 1 }, text);
      // Nothing of the blocks before counts.
      const other = await last({ topBlocks: 9, missBelow: 1 }, [4, 0, 2, 2, 5, 0]);
      expect(relativeError(few.own, other.own)).toBeLessThan(2e-5);
      expect(relativeError(few.own, own)).toBeGreaterThan(1e-3);
    }));

  test('their cache, and that of SEA, may be of 16 bits', () =>
    scoped(runtime(), async () => {
      const attentions = [
        { method, params: { block: 2, topBlocks: 1 } },
        { method: sea as Method, params: { cells: 4, keys: 2, positions: 16 } },
      ];
      for (const attention of attentions) {
        const decoder = createDecoder(config, { attention });
        const parameters = decoder.initialize(runtime(), { seed: 5 });
        const by = async (dtype: 'f32' | 'f16') => {
          using cache = decoder.cache(runtime(), { capacity: 12, dtype });
          for (const tokens of [[1, 2, 3, 4, 5], [0, 3], [2]])
            await decoder.step(parameters, runtime().tensor(tokens, [1, tokens.length], 'i32'), cache).read();
          const logits = decoder.step(parameters, runtime().tensor([4], [1, 1], 'i32'), cache);
          return { logits: await logits.toHost(), bytes: cache.bytes };
        };
        const [wide, narrow] = [await by('f32'), await by('f16')];
        expect(relativeError(narrow.logits, wide.logits)).toBeLessThan(2e-2);
        expect(narrow.bytes).toBeLessThan(wide.bytes);
        expect(() => decoder.cache(runtime(), { capacity: 8, dtype: 'i8' })).toThrow('dtype of the cache of');
      }
    }));

  test('landmarks that are missing, or at wrong places, are faults of what is computed', () =>
    scoped(runtime(), async () => {
      const decoder = createDecoder(config, { attention: { method, params: { block: 2 } } });
      const parameters = decoder.initialize(runtime(), { seed: 5 });
      const logits = (tokens: number[]) =>
        decoder.forward(parameters, runtime().tensor(tokens, [1, tokens.length], 'i32')).read();
      await expect(logits([1, 2, 3, 4])).rejects.toThrow(
        'tokens[0][2] must be the landmark 6, which follows every 2 tokens, got 3',
      );
      await expect(logits([1, 2, 6, 6])).rejects.toThrow('tokens[0][3] must be no landmark');
    }));
});
