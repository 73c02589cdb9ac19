import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeOnBackends, isOnGpu } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { chapter, sentencesOfMobyDick } from '../../../test/moby-dick';
import { loadOracle, MODEL_FOLDER, type Oracle } from '../../../test/use-lite-oracle';
import { attention, createRuntime } from '../../index';
import { readSafetensors } from '../../io';
import { loadUniversalSentenceEncoder } from '..';
import type { UniversalSentenceEncoder } from './index';

const WIDTH = 512;
const HEADS = 'module_apply_default/Encoder_en/KonaTransformer/Encode/TransformerStack';
const fixture = new URL('../../../test/fixtures/use-lite-embeddings.safetensors', import.meta.url);

/** The graph's nodes of a layer: q, k, v as [n, w], and the heads' outputs side by side, [n, w]. */
function nodesOf(layer: 0 | 1): string[] {
  const path = `${HEADS}/Layer_${layer}/TransformerLayer/MultiheadAttention`;
  return [
    ...['split', 'split:1', 'split:2'].map((part) => `${path}/${part}`),
    `${path}/combine_heads/combine_last_two_dimensions/Reshape`,
  ];
}

describeOnBackends('the Universal Sentence Encoder', (runtime) => {
  let model: UniversalSentenceEncoder;
  let weightBytes: number;
  beforeAll(async () => {
    const before = runtime().memory().live;
    model = await loadUniversalSentenceEncoder(runtime());
    weightBytes = runtime().memory().live - before;
  });
  afterAll(() => {
    const before = runtime().memory().live;
    model.dispose();
    expect(runtime().memory().live).toBe(before - weightBytes);
  });

  test('embeds sentences of Moby Dick as TensorFlow.js does', async () => {
    const all = sentencesOfMobyDick(100);
    const { embeddings } = readSafetensors(readFileSync(fixture));
    const expected = embeddings?.data as Float32Array;
    // The float64 loops, and GPUs in software, would take half a minute for all of them.
    const step = isOnGpu || runtime().backend.name === 'reference' ? 10 : 1;
    const chosen = all.map((_, i) => i).filter((i) => i % step === 0);
    using embedded = await model.embed(chosen.map((i) => all[i] as string));
    expect(embedded.shape).toEqual([chosen.length, WIDTH]);
    const actual = await embedded.read();
    chosen.forEach((sentence, row) => {
      const ours = actual.subarray(row * WIDTH, (row + 1) * WIDTH);
      const theirs = expected.subarray(sentence * WIDTH, (sentence + 1) * WIDTH);
      expect(cosine(ours, theirs)).toBeGreaterThanOrEqual(0.99999);
      expectClose(ours, theirs, 1e-5);
    });
  });

  test('gives a sentence the same vector alone and among others of any length', async () => {
    const [long, short] = [chapter(1), 'Call me Ishmael.'];
    expect(model.tokenise(long).length).toBeGreaterThan(128);
    using together = await model.embed([short, '', long, short]);
    using alone = await model.embed([short]);
    const rows = await together.read();
    expectClose(rows.subarray(0, WIDTH), await alone.read(), 1e-6);
    expectClose(rows.subarray(3 * WIDTH), await alone.read(), 1e-6);
    for (let row = 0; row < 4; row++) {
      const vector = rows.subarray(row * WIDTH, (row + 1) * WIDTH);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    }
  });

  test('leaves nothing behind but its result, also when it is refused or cancelled', async () => {
    const before = runtime().memory().live;
    const embedded = await model.embed(['It is not down on any map.', 'True places never are.']);
    expect(runtime().memory().live).toBe(before + bytesOf(embedded));
    embedded.dispose();
    const { q, k, v } = model.attentionInputs([1, 2, 3], 1);
    await runtime().finish();
    expect(runtime().memory().live).toBe(before + bytesOf(q) + bytesOf(k) + bytesOf(v));
    for (const tensor of [q, k, v]) tensor.dispose();
    expect(runtime().memory().live).toBe(before);

    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const signal = AbortSignal.abort(new Error('stopped'));
    await refuse(() => model.embed(['a'], { signal }), 'stopped');
    await refuse(() => model.embed([]), 'sentences must be an array of one or more strings');
    await refuse(() => model.embed('a' as unknown as string[]), 'sentences must be an array of one or more strings');
    await refuse(() => model.embed(['a'], { pool: 'max' } as object), "embed() has no option 'pool'");
    await refuse(() => model.attentionInputs([], 0), 'tokens must be a non-empty array of token numbers');
    for (const token of [8002, -1, 1.5, Number.NaN, 2 ** 32])
      await refuse(
        () => model.attentionInputs([5, token], 0),
        `tokens must be integers from 0 to 8001, got ${token} at element 1`,
      );
    await refuse(() => model.attentionInputs([5], 2 as 0), 'layer must be 0 or 1, got 2');

    expect(() => model.tokenise(5 as unknown as string)).toThrow('text must be a string, got number');

    const stop = new AbortController();
    const onProgress = () => stop.abort(new Error('stopped midway'));
    await refuse(() => model.attentionInputs([1, 2, 3], 1, { signal: stop.signal, onProgress }), 'stopped midway');
  });

  test('is refused once it is disposed', async () => {
    const disposed = await loadUniversalSentenceEncoder(runtime());
    disposed.dispose();
    await expectRefusal(runtime(), () => disposed.embed(['a']), 'embed(): the model was disposed');
  });
});

describe('against the graph itself', () => {
  let oracle: Oracle;
  let model: UniversalSentenceEncoder;
  beforeAll(async () => {
    oracle = await loadOracle(1_000_000);
    model = await loadUniversalSentenceEncoder(await createRuntime());
  });
  afterAll(() => model.runtime.dispose());

  test('the embedding of a sentence agrees, run live', async () => {
    for (const sentence of [
      'Call me Ishmael.',
      ': -',
      'So strange a dreaminess did there then reign all over the ship!',
    ]) {
      using embedded = await model.embed([sentence]);
      const [expected] = await oracle(model.tokenise(sentence));
      expectClose(await embedded.read(), expected as Float32Array, 1e-6);
    }
  });

  test.each([0, 1] as const)(
    'q, k, v and the attention of layer %i agree beyond the longest sentence',
    async (layer) => {
      const tokens = model.tokenise(chapter(1)).slice(0, 150);
      const [q, k, v, heads] = (await oracle(tokens, nodesOf(layer))) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      const inputs = model.attentionInputs(Int32Array.from(tokens), layer);
      const d = layer === 0 ? 64 : 128;
      for (const [tensor, expected] of [
        [inputs.q, q],
        [inputs.k, k],
        [inputs.v, v],
      ] as const) {
        expect(tensor.shape).toEqual([1, 150, 4, d]);
        expect(tensor.isContiguous).toBe(true);
        expectClose(await tensor.read(), expected, 5e-5);
      }
      const { out } = attention(inputs.q, inputs.k, inputs.v);
      expectClose(await out.read(), heads, 5e-5);
    },
  );
});

test('a folder and given bytes load like the package, and what is missing is named', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const names = ['model.json', 'vocab.json', ...Array.from({ length: 7 }, (_, i) => `group1-shard${i + 1}of7`)];
  const files = Object.fromEntries(names.map((name) => [name, readFileSync(`${MODEL_FOLDER}/${name}`)]));
  for (const source of [MODEL_FOLDER, files]) {
    using model = await loadUniversalSentenceEncoder(runtime, source);
    expect(model.tokenise('Call me Ishmael.')).toHaveLength(7);
  }
  expect(runtime.memory().live).toBe(0);
  const { 'vocab.json': _, ...rest } = files;
  await expectRefusal(
    runtime,
    () => loadUniversalSentenceEncoder(runtime, rest),
    "files must hold the bytes of 'vocab.json' as a Uint8Array, got undefined",
  );
});

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b));
}

function bytesOf({ size }: { size: number }): number {
  return 4 * size;
}
