import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import configs from '../../test/fixtures/decoder.json';
import { attention } from '../index';
import { createDecoder, languageModel, languageTokenizer } from '../models';
import { loadUniversalSentenceEncoder, type UniversalSentenceEncoder } from '../models/universal-sentence-encoder';
import { createRuntime } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { characterTokenizer } from '../train';
import { decoderInputs, mobyDick, takeTokens, textInputs } from './inputs';

let runtime: Runtime;
let encoder: UniversalSentenceEncoder;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'reference' });
  encoder = await loadUniversalSentenceEncoder(runtime);
});
afterAll(() => runtime.dispose());

describe('takeTokens', () => {
  const lengths = (text: string) => (text === '' ? [] : text.split(' ').map((word) => word.length));

  test('joins lines within a paragraph, and paragraphs', () => {
    expect(takeTokens('\n\na bb\n ccc\n \n\ndddd  e\n', 99, lengths)).toEqual([1, 2, 3, 4, 1]);
  });

  test('splits no paragraph after the last token taken', () => {
    const split: string[] = [];
    const tokens = takeTokens('a bb\n\nccc\n\ndddd', 3, (text) => {
      split.push(text);
      return lengths(text);
    });
    expect(tokens).toEqual([1, 2, 3]);
    expect(split).toEqual(['a bb', 'ccc']);
  });

  test('splits a long paragraph no further than is taken', () => {
    let characters = 0;
    const tokens = takeTokens('word '.repeat(2 ** 18), 3, (text) => {
      characters += text.length;
      return lengths(text);
    });
    expect(tokens).toEqual([4, 4, 4]);
    expect(characters).toBeLessThanOrEqual(2 ** 18);
  });
});

describe('textInputs', () => {
  test('gives q, k and v of the layer, and says what they are', async () => {
    const { live } = runtime.memory();
    const { inputs, description } = textInputs(encoder, await mobyDick(), { length: 12, layer: 0 }, {});
    expect(inputs.q.shape).toEqual([1, 12, 4, 64]);
    expect(description).toBe(
      'The first 12 tokens of Moby Dick through layer 0 of the Universal Sentence Encoder: 4 heads of 64 dimensions.',
    );
    for (const tensor of [inputs.q, inputs.k, inputs.v]) tensor.dispose();
    await runtime.finish();
    expect(runtime.memory().live).toBe(live);
  });

  test('takes a text whole that has no more tokens, and says so', () => {
    const text = { name: 'ahab.txt', text: 'Call me Ishmael.' };
    const { inputs, description } = textInputs(encoder, text, { length: 4096, layer: 1 }, {});
    const [, n] = inputs.q.shape as [number, number];
    expect(n).toBeLessThan(10);
    expect(description).toMatch(new RegExp(`^All ${n} tokens of ahab.txt \\(4096 were asked for\\) through layer 1`));
    const exact = textInputs(encoder, text, { length: n, layer: 1 }, {}).description;
    expect(exact).toMatch(new RegExp(`^All ${n} tokens of ahab.txt through layer 1`));
  });

  test('refuses a text without words', () => {
    const text = { name: 'empty.txt', text: ' \n\n\t' };
    expect(() => textInputs(encoder, text, { length: 9, layer: 1 }, {})).toThrow(
      'empty.txt holds no text: expected at least one word',
    );
  });
});

test('a language model tells its loss with other attention in a layer, in each and in all', async () => {
  const decoder = createDecoder(configs.llama);
  using model = languageModel(runtime, decoder, decoder.initialize(runtime, { seed: 2 }), {
    tokenizer: languageTokenizer({ tokenizer: characterTokenizer('01').file }),
  });
  const own = { length: 12, layer: 1, each: true };
  const { inputs, losses } = decoderInputs(model, { name: 'digits', text: '0110100110010110' }, own, {});
  expect(inputs.q.shape[1]).toBe(12);
  const { loss } = await model.perplexity([0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0]);
  expect(await losses!(undefined, {})).toEqual({ layer: loss, all: loss });
  const same = await losses!(({ q, k, v }) => attention(q, k, v, { causal: true }).out, {});
  for (const each of [same.layer, same.all, ...same.layers!]) expect(each).toBeCloseTo(loss, 5);
  const blind = await losses!(({ q }) => runtime.zeros(q.shape), {});
  expect(new Set([loss, blind.all, ...blind.layers!]).size).toBe(2 + decoder.layers);
  expect(blind.layer).toBe(blind.layers![1]);
});

test('the novel begins with its first chapter', async () => {
  const { text } = await mobyDick();
  expect(text).toMatch(/^Call me Ishmael\./);
  expect(text.length).toBeGreaterThan(1e6);
});
