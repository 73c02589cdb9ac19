import { expect, test } from 'vitest';
import { onRanks } from '../../../test/ranks';
import { sumOver } from '../../cluster';
import { contiguous, createRuntime, findMethod, type Runtime, type Tensor } from '../../index';
import { adamw, readCheckpoint, type TrainOptions, train } from '../../train';
import { createDecoder, type Decoder, type DecoderOptions } from '.';
import { lossOverRanks, type Parallel } from './over-ranks';

const [ROWS, LENGTH, VOCABULARY] = [3, 12, 17];

const decoderWith = (attention?: DecoderOptions['attention']) =>
  createDecoder(
    {
      model_type: 'llama',
      vocab_size: VOCABULARY,
      hidden_size: 16,
      intermediate_size: 24,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
    },
    attention ? { attention } : {},
  );
const decoder = decoderWith();

const batches = (runtime: Runtime) => (index: number) => {
  const ids = Int32Array.from({ length: ROWS * (LENGTH + 1) }, (_, at) => (3 * at + index) % VOCABULARY);
  using all = runtime.tensor(ids, [ROWS, LENGTH + 1], 'i32');
  const part = (from: number) => runtime.scope(() => contiguous(all.slice(1, from, from + LENGTH)));
  return { tokens: part(0), targets: part(1) };
};

type Batch = ReturnType<ReturnType<typeof batches>>;

/** Losses of a training, and its last checkpoint. */
async function trained(runtime: Runtime, steps: number, more: Partial<TrainOptions<Batch>> = {}) {
  const parameters = decoder.initialize(runtime, { seed: 3 });
  const optimizer = adamw(parameters, { learningRate: 0.01 });
  let last = new Uint8Array();
  const { losses } = await train<Batch>({
    parameters,
    optimizer,
    steps,
    clip: 1,
    loss: (tracked, { tokens, targets }) => decoder.loss(tracked, tokens, targets),
    batches: batches(runtime),
    checkpoint: {
      every: steps,
      save(name, file) {
        if (name === 'last') last = new Uint8Array(file);
      },
    },
    ...more,
  });
  return { losses, last };
}

function overRanks(size: number, parallel: Parallel, steps: number, resume?: Uint8Array) {
  return onRanks(size, async (communicator) => {
    const loss = lossOverRanks(decoder, communicator, parallel);
    return trained(communicator.runtime, steps, {
      loss: (tracked, batch) => loss(tracked, batch, {}),
      sum: sumOver(communicator),
      validate: { every: steps, count: 1, batches: batches(communicator.runtime) },
      resume,
    });
  });
}

test('ranks that divide rows or tokens learn as one process does, and go on with another number of ranks', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const alone = await trained(runtime, 20);
  expect(alone.losses[19]).toBeLessThan((alone.losses[0] as number) - 0.2);
  const first = await overRanks(3, 'data', 12);
  for (const parallel of ['data', 'context'] as const) {
    const all = await overRanks(2, parallel, 20, (first[0] as (typeof first)[number]).last);
    for (const { losses, last } of all) {
      expect(losses).toHaveLength(20);
      for (const [at, loss] of losses.entries())
        expect(Math.abs(loss - (alone.losses[at] as number))).toBeLessThan(1e-5);
      expect(Object.keys(readCheckpoint(last).parameters)).toEqual(Object.keys(readCheckpoint(alone.last).parameters));
    }
    expect(all[0]?.losses).toEqual(all[1]?.losses);
  }
  const context = await overRanks(3, 'context', 4);
  for (const [at, loss] of (context[2]?.losses ?? []).entries())
    expect(loss).toBeCloseTo(alone.losses[at] as number, 5);
}, 60_000);

test('a rank that is stopped ends all after the same step, with its checkpoint', async () => {
  const kept = await onRanks(2, async (communicator) => {
    const loss = lossOverRanks(decoder, communicator, 'context');
    const controller = new AbortController();
    let steps = 0;
    const training = trained(communicator.runtime, 20, {
      loss: (tracked, batch) => loss(tracked, batch, {}),
      sum: sumOver(communicator),
      ...(communicator.rank === 1 && { signal: controller.signal }),
      onStep: ({ step }) => {
        if (step === 3) controller.abort();
      },
      checkpoint: {
        every: 20,
        save(_, __, after) {
          steps = after;
        },
      },
    });
    await expect(training).rejects.toMatchObject({ name: 'AbortError' });
    return steps;
  });
  expect(kept).toEqual([4, 4]);
});

test.each(['data', 'context'] as const)('where one rank has no room all refuse, dividing %s', async (parallel) => {
  const messages = await onRanks(2, async (communicator) => {
    const { runtime, rank } = communicator;
    if (rank === 1) Object.defineProperty(runtime.backend, 'mostBytes', { value: 20_000 });
    const loss = lossOverRanks(decoder, communicator, parallel);
    const training = trained(runtime, 1, {
      loss: (tracked, batch) => loss(tracked, batch, {}),
      sum: sumOver(communicator),
    });
    return await training.then(String, (error) => error.message);
  });
  expect(messages[0]).toMatch(/^a step on one of the batches needs about .* some of which lack .* KiB: make/);
  expect(messages[1]).toBe(messages[0]);
});

test('layers with windows and changes of scores divide tokens too, others are refused by name', async () => {
  const gemma = createDecoder({
    ...{ model_type: 'gemma2', vocab_size: VOCABULARY, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2 },
    ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 4, sliding_window: 5, attn_logit_softcapping: 0.1 },
  });
  await onRanks(2, async (communicator) => {
    const { runtime } = communicator;
    const lossWith = (own: Decoder, inputs?: Record<string, Tensor>) => {
      const parameters = own.initialize(runtime, { seed: 3 });
      const batch = batches(runtime)(0);
      const share = lossOverRanks(own, communicator, 'context')(parameters, batch, { inputs });
      return { share, whole: own.loss(parameters, batch.tokens, batch.targets, { inputs }) };
    };
    const slopes = runtime.tensor([0.5, 0.25, 1, 2]);
    const windowed = decoderWith({ method: findMethod('attention'), params: { window: [3, 0] } } as never);
    for (const [own, inputs] of [[windowed], [gemma], [decoder, { alibi_slopes: slopes }]] as const) {
      const { share, whole } = lossWith(own, inputs);
      const [sum] = sumOver(communicator)([share]);
      expect((await sum?.read())?.[0]).toBeCloseTo((await whole.read())[0] as number, 5);
    }
    expect(() => lossWith(decoderWith(findMethod('lightning-attention') as never))).toThrow(
      'ranks divide the tokens of attention under masks only, got lightning-attention: divide data',
    );
    const documents = runtime.zeros([ROWS, LENGTH], 'i32');
    expect(() => lossWith(decoder, { documents })).toThrow('got attention with documents: divide data');
    const rows = lossOverRanks(decoder, communicator, 'data');
    const one = runtime.zeros([1, 4], 'i32');
    expect(() => rows(decoder.initialize(runtime), { tokens: one, targets: one }, {})).toThrow(
      'a batch must have a row for each of 2 ranks, got 1',
    );
  });
});
