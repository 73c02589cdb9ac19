import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LanguageModel } from '../models';
import { createRuntime } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { loadDefaultModel } from '.';

let runtime: Runtime;
let model: LanguageModel;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  model = await loadDefaultModel({ runtime });
});
afterAll(() => {
  model.dispose();
  runtime.dispose();
});

test('predicts texts that it did not learn from as well as when it was trained', async () => {
  const text = await readFile(new URL('../../test/fixtures/held-out.txt', import.meta.url), 'utf8');
  const { tokens, loss } = await model.perplexity(text);
  expect([tokens, model.context]).toEqual([1112, 4096]);
  expect(Math.abs(loss - 3.826)).toBeLessThan(0.01);
});

test('continues a text, by the same words for the same seed', async () => {
  const drawn = (seed: number) =>
    model.generate('And it came to pass', { maxTokens: 24, temperature: 0.8, seed }).finish();
  const [first, again, other] = await Promise.all([drawn(1), drawn(1), drawn(2)]);
  expect(first.text).toMatch(/^[\w\s,.;:'-]{20,}$/);
  expect(again.text).toBe(first.text);
  expect(other.text).not.toBe(first.text);
});

test('has its own configuration and tokenizer', async () => {
  await expect(loadDefaultModel({ runtime, config: {} } as never)).rejects.toThrow(
    "loadDefaultModel has no option 'config'",
  );
});
