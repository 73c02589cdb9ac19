import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../../test/backends';
import { relativeError } from '../../../test/describe-method';
import { expectRefusal } from '../../../test/expect';
import configs from '../../../test/fixtures/decoder.json';
import { PARAMS } from '../../../test/method-params';
import { scoped } from '../../../test/scoped';
import { concat, createRuntime, type Runtime } from '../../index';
import { readSafetensors } from '../../io';
import {
  dydila,
  exactAttention,
  gatedDeltaRule,
  lightningAttention,
  localLinearAttention,
  neighborhoodAttention,
  parallax,
  performer,
  powerAttention,
  s2Attention,
} from '../../methods';
import type { Method } from '../../methods/define';
import { methods } from '../../methods/registry';
import { attention as attentionModule } from '../../nn/attention';
import { initial, partOf } from '../../nn/module';
import { differentiate } from '../../tape';
import { bytesPerElement } from '../../tensor/dtype';
import { convert, type HostTensor, hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { writeCheckpoint } from '../../train/checkpoint';
import { createDecoder, type DecoderAttention, type LayerAttention } from '.';

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

describeOnBackends('decoder by other methods', (runtime) => {
  const all = [
    ['a window with sinks', { method: exactAttention, params: { window: [2, 0], sinks: 1, softcap: 5 } }],
    ['exact attention', exactAttention],
    ...choices,
  ] as const;
  test.each(fewOnGpu(all, 1))('%s: a prompt and steps give what all tokens at once do', (_, attention) =>
    scoped(runtime(), async () => {
      const decoder = createDecoder(tiny, { attention: attention as DecoderAttention });
      const parameters = decoder.initialize(runtime(), { seed: 5 });
      const all = runtime().tensor([1, 2, 3, 4, 5, 6, 0, 2, 1, 3, 5, 4], [2, 6], 'i32');
      const wanted = decoder.forward(parameters, all);
      using cache = decoder.cache(runtime(), { rows: 2, capacity: 6 });
      for (const [from, past] of [
        [0, 3],
        [3, 4],
        [4, 6],
      ] as const) {
        const logits = await decoder.step(parameters, all.slice(1, from, past), cache).toHost();
        const expected = await wanted
          .slice(1, past - 1, past)
          .reshape([2, 7])
          .toHost();
        expect(relativeError(logits, expected)).toBeLessThan(1e-5);
      }
      expect(cache.length).toBe(6);
      const more = all.slice(1, 0, 1);
      const refusal = 'a row would have 7 tokens, more than the capacity 6 of the cache';
      await expectRefusal(runtime(), () => decoder.step(parameters, more, cache), refusal);
    }),
  );

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
  const onSequences = methods.filter(({ inputs }) => !inputs.q?.includes('...space'));
  /** Undefined for what a decoder refuses. */
  const decoderOf = (config: object, attention: LayerAttention) => {
    try {
      return createDecoder({ ...tiny, ...config }, { attention });
    } catch (error) {
      expect(String(error)).toContain(`${attention.method.name} lets tokens see later ones`);
      return undefined;
    }
  };

  test('are those, and only those, by which tokens see no later ones', () =>
    scoped(runtime, async () => {
      const [n, width] = [8, 8];
      const [x, y] = [runtime.random([1, n, width], { seed: 1 }), runtime.random([1, n, width], { seed: 2 })];
      const changed = [1, 3, n - 1].map(
        (at) => [at, concat([x.slice(1, 0, at), y.slice(1, at, n)] as Tensor<'f32'>[], 1)] as const,
      );
      const taken = new Map<string, boolean>();
      for (const method of onSequences)
        for (const given of SETTINGS[method.name] ?? [{}]) {
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
      const tokens = runtime.tensor([1, 2, 3, 4, 5, 6], [2, 3], 'i32');
      const bias = { attention_bias: true, head_dim: 4 };
      let steps = 0;
      for (const model_type of ['llama', 'mistral', 'qwen2', 'qwen3'])
        for (const method of onSequences) {
          const { name } = method;
          const decoder = decoderOf({ model_type, num_hidden_layers: 1, ...bias }, { method, params: PARAMS[name] });
          if (!decoder) continue;
          await scoped(runtime, async () => {
            const parameters = decoder.initialize(runtime, { seed: 1 });
            const { loss, gradients } = differentiate((p) => decoder.loss(p, tokens, tokens), parameters);
            expect((await loss.read())[0], `${model_type} ${name}`).toBeCloseTo(Math.log(7), 1);
            expect(Object.keys(gradients)).toEqual(Object.keys(decoder.parameters));
            await Promise.all(Object.values(gradients).map((each) => each.read()));
          });
          steps++;
        }
      expect(steps).toBe(4 * 11);
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
    expect(make({ model_type: 'gpt2' })).toThrow(
      "model_type of config must be one of llama, mistral, qwen2, qwen3, got 'gpt2'",
    );
    expect(make({ hidden_size: undefined })).toThrow('hidden_size of config must be an integer >= 1, got undefined');
    expect(make({ num_key_value_heads: 3 })).toThrow('num_key_value_heads of config must be a divisor of num_att');
    expect(make({ num_hidden_layers: 1e9 })).toThrow(
      'num_hidden_layers of config must be an integer from 1 to 1024, got 1000000000',
    );
    expect(make({ num_attention_heads: 1e9, head_dim: 2 })).toThrow(
      'num_attention_heads of config must be an integer from',
    );
    expect(make({ hidden_act: 'gelu_new' })).toThrow('hidden_act of config must be one of silu, gelu, relu');
    expect(make({ rope_scaling: { type: 'dynamic' } })).toThrow('rope_type of config must be one of default, linear');
    expect(make({ quantization_config: {} })).toThrow(
      'config has quantization_config an object, which is not supported',
    );
    expect(make({ model_type: 'qwen3', layer_types: ['full_attention'] })).toThrow('layer_types of config must be one');
    expect(make({ rms_norm_eps: -1 })).toThrow('rms_norm_eps of config must be a finite number >= 0, got -1');
  });

  test('refuses methods that a decoder cannot use, and says where', () => {
    const make = (attention: unknown) => () => createDecoder(tiny, { attention: attention as DecoderAttention });
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
    const checkpoint = readSafetensors(
      writeCheckpoint({
        steps: 1,
        settings: {},
        history,
        parameters: weights,
        state: { 'model.norm.weight.mean': weights['model.norm.weight']! },
      }),
    );
    const loaded = decoder.load(runtime, checkpoint);
    expect((await loaded['model.norm.weight']!.toHost()).data).toEqual(weights['model.norm.weight']!.data);
    const { 'model.norm.weight': _, ...others } = weights;
    expect(() => decoder.load(runtime, others)).toThrow('weights have no tensor model.norm.weight');
    expect(() => decoder.load(runtime, { ...weights, 'h.0': weights['model.norm.weight']! })).toThrow(
      "weights have a tensor 'h.0' too many",
    );
    const wrong = { ...weights, 'model.norm.weight': hostTensor(new Float32Array(4), [4]) };
    expect(() => decoder.load(runtime, wrong)).toThrow('model.norm.weight must have shape [16], got [4]');
  });
});
