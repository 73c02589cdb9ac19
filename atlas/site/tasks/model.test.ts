import { expect, test } from 'vitest';
import { models } from '../../../src/models/registry';
import { checkModel, modelShown, runModel } from './model';

const settingOf = (name: string) => {
  const { params } = models.find((model) => model.name === name)!.sample();
  return { method: name, extents: {}, params: params as Record<string, unknown> };
};

test('a model runs on its sample as the reference does, and its outputs are shown', async () => {
  const setting = settingOf('decoder');
  const { rows } = await runModel({ setting, backends: ['wasm'] }, { signal: undefined, report: () => undefined });
  expect(rows[0]).toMatchObject({ backend: 'wasm', checked: 'on the sample' });
  expect(rows[0].error).toBeLessThan(1e-5);
  expect(rows[0].time).toBeGreaterThan(0);
  const {
    shown: [logits],
  } = await modelShown({ setting });
  expect([logits.name, logits.shape, logits.kind]).toEqual(['logits', [1, 9, 26], 'picture']);
});

test('params that a model refuses are a sentence', async () => {
  const setting = { ...settingOf('decoder'), params: { config: 3 } };
  await expect(checkModel({ setting })).rejects.toThrow(/config .*decoder.* got 3/);
});
