import * as valibot from 'valibot';
import { flag, number, scale, whole } from '../../schema';

export const params = valibot.strictObject({
  chunk: whole('tokens that are routed together; 1 routes each on its own', { least: 1, preset: 64 }),
  forget: flag('the state decays over chunks that go to softmax attention, too', true),
  counterfactual: flag('the operator that is not chosen has a search gradient, too', false),
  epsilon: number('of all norms', { least: 0, preset: 1e-6 }),
  scale,
});

export type Params = valibot.InferOutput<typeof params>;
