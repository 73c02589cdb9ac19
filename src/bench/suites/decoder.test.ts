import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decoderFolder } from '../decoder-operations';
import { runSuite } from '../run';
import { DEFAULT_OPTIONS } from '../suite';
import { decoderSuite } from './decoder';

const OPTIONS = {
  ...DEFAULT_OPTIONS,
  ...decoderSuite.defaults,
  shape: 'tiny',
  types: ['q4'],
  n: [16],
  cached: [16],
  threads: 1,
  repeats: 1,
} as const;
const patience = { limit: 60_000, warmUp: 0, sample: 1 };

test('prompts, steps, products and batches are right, and leave no files', async () => {
  const { rows } = await runSuite(decoderSuite, OPTIONS, { patience });
  const own = rows.filter(({ name }) => name !== 'read');
  expect(own.map(({ name, reason }) => [name, reason])).toEqual(
    ['prompt-16', 'step-16', 'products', 'overhead', 'batch-1', 'batch-8'].map((name) => [`${name}-q4`, undefined]),
  );
  // Rows that are multiplied are rounded to 8 bits.
  for (const { name, measures } of own) if (name !== 'products-q4') expect(measures.error).toBeLessThan(0.03);
  expect(existsSync(decoderFolder())).toBe(false);
});

test('a budget that is spent ends it, and peers have rows of their own', async () => {
  const { rows } = await runSuite(decoderSuite, { ...OPTIONS, types: ['f32'], budget: 0 }, { patience });
  expect(rows.map(({ name }) => name)).toEqual(['read', 'prompt-16-f32']);
  // The reference is in float64, keys and values are in f16.
  expect(rows[1]?.measures.error).toBeLessThan(0.002);
  const names = decoderSuite.names({ ...OPTIONS, types: ['q8'] });
  for (const name of ['node-llama-cpp-batch-8-q8', 'wllama-step-16-q8', 'onnxruntime-web-prompt-16-q8'])
    expect(names).toContain(name);
});
