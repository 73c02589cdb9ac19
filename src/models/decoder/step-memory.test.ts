import { expect, test } from 'vitest';
import { createRuntime } from '../../index';
import { exactAttention, gatedDeltaRule } from '../../methods';
import type { Method } from '../../methods/define';
import { measureStepMemory, predictStepMemory, type StepMemorySettings, totalOf } from './step-memory';

const CONFIG = {
  model_type: 'llama',
  vocab_size: 64,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  tie_word_embeddings: true,
};
const SETTINGS: StepMemorySettings = {
  phase: 'train',
  attention: { method: exactAttention as Method },
  rows: 1,
  weights: 'f32',
  cache: 'f32',
  recompute: false,
};

test.each<[string, Partial<StepMemorySettings>, number]>([
  ['training', {}, 0.03],
  ['recomputing', { recompute: true }, 0.03],
  // Beside the tokens that there are, a cache has room for an eighth of them.
  ['decoding from 8 bits', { phase: 'decode', cache: 'i8', weights: 'q8' }, 0.13],
  ['decoding from states', { phase: 'decode', attention: { method: gatedDeltaRule as Method } }, 0.02],
])('%s takes what small runs say', async (_, more, tolerance) => {
  const settings = { ...SETTINGS, ...more };
  using runtime = await createRuntime({ backend: 'wasm' });
  const predict = await predictStepMemory(runtime, CONFIG, settings);
  const { live } = runtime.memory();
  const measured = await measureStepMemory(runtime, CONFIG, settings, 1280);
  expect(totalOf(predict(1280)) / totalOf(measured)).toBeGreaterThan(1 - tolerance);
  expect(totalOf(predict(1280)) / totalOf(measured)).toBeLessThan(1 + tolerance);
  expect(runtime.memory().live).toBe(live);
  const isState = 'attention' in more;
  expect(predict(2 ** 20).cache > 0).toBe(settings.phase === 'decode');
  if (isState) expect(predict(2 ** 20).cache).toBe(predict(1024).cache);
});
