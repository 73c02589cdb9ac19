// An ordinary function of elements, compiled from its source: one pass over memory, several results, on any backend.
import { createRuntime, map, mean, sum } from 'saccade';

using runtime = await createRuntime();
const logits = runtime.random([1000, 1000], { seed: 1 });
const labels = runtime.random([1000, 1], { seed: 2, distribution: 'uniform' }); // broadcasts

const { loss, isRight } = map(
  (x, label, { softplus, sharpness }) => {
    const wanted = label > 0.5 ? 1 : 0;
    return { loss: softplus(sharpness * x) - wanted * sharpness * x, isRight: x > 0 === wanted > 0 };
  },
  logits,
  labels,
  { captured: { sharpness: 2 } },
);

console.log(`mean loss ${(await mean(loss).read())[0]!.toFixed(3)}`);
console.log(`${(await sum(isRight).read())[0]} of ${loss.size} right`);

// Prints:
// mean loss 1.068
// 499775 of 1000000 right
