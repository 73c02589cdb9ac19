import * as valibot from 'valibot';
import { count, float32, scale } from '../../schema';

const choice = (description: string, otherwise: boolean) =>
  valibot.optional(valibot.pipe(valibot.boolean(), valibot.description(description)), otherwise);

export const params = valibot.strictObject({
  chunk: valibot.optional(count('tokens that are routed together; 1 routes each on its own', 1), 64),
  forget: choice('the state decays over chunks that go to softmax attention, too', true),
  counterfactual: choice('the operator that is not chosen has a search gradient, too', false),
  epsilon: valibot.optional(
    valibot.pipe(valibot.number(), float32(), valibot.minValue(0), valibot.description('of all norms')),
    1e-6,
  ),
  scale,
});

export type Params = valibot.InferOutput<typeof params>;
