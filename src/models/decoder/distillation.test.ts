import { expect, test } from 'vitest';
import { createRuntime, differentiate } from '../../index';
import { exactAttention, sea } from '../../methods';
import type { Method } from '../../methods/define';
import { adamw } from '../../train';
import { createDecoder } from '.';
import { distillation } from './distillation';
import { insertTargets, jumpedPositions, NO_TARGET } from './landmarks';

const config = {
  model_type: 'llama',
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
};

test('a student of SEA learns what its teacher gives, its estimator too, and exact attention has nothing to learn', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const teacher = createDecoder(config);
  const known = teacher.initialize(runtime, { seed: 1 });
  const batch = {
    tokens: runtime.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 10], 'i32'),
    targets: runtime.tensor([2, 3, 4, 5, 6, 7, 8, 9, 10, 1], [1, 10], 'i32'),
  };
  const same = distillation(
    { decoder: teacher, parameters: known },
    createDecoder(config, { attention: exactAttention }),
  );
  // The task alone is left, a tenth of it.
  const [task] = await teacher.loss(known, batch.tokens, batch.targets).read();
  expect((await same(known, batch).read())[0]).toBeCloseTo(0.1 * (task as number), 5);

  const student = createDecoder(config, {
    attention: { method: sea as Method, params: { cells: 8, keys: 4, positions: 16 } },
  });
  const parameters = { ...student.initialize(runtime, { seed: 2 }), ...known };
  const lossOf = distillation({ decoder: teacher, parameters: known }, student);
  using optimizer = adamw(parameters, { learningRate: 0.01 });
  const losses: number[] = [];
  for (let step = 0; step < 12; step++) {
    const { loss, gradients } = differentiate((p) => lossOf(p, batch), parameters);
    losses.push((await loss.read())[0] as number);
    const estimator = await gradients['model.layers.0.self_attn.estimator.conv0.weight']?.read();
    expect(estimator?.some((value) => value !== 0)).toBe(true);
    optimizer.step(gradients);
  }
  expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] as number));
});

test('landmarks among tokens have no targets, and the token before one that of the token behind it', () => {
  const landmarks = { every: 2, token: 9 };
  expect(insertTargets([1, 2, 3, 4, 5], [2, 3, 4, 5, 6], landmarks)).toEqual({
    tokens: [1, 2, 9, 3, 4, 9, 5],
    targets: [2, 3, NO_TARGET, 4, 5, NO_TARGET, 6],
  });
  expect(jumpedPositions(7, landmarks, 1, () => 0.99)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(jumpedPositions(7, landmarks, 5, () => 0.5)).toEqual([0, 1, 2, 5, 6, 7, 10]);
});
