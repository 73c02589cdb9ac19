// A score function with a bias that is learned: compiled once, and its gradient comes with the others.
import { attention, createRuntime, differentiate, mean } from 'saccade';
import * as scores from 'saccade/scores';

using runtime = await createRuntime();
const [n, h, d] = [64, 2, 32];
const q = runtime.random([1, n, h, d], { seed: 1 });
const k = runtime.random([1, n, h, d], { seed: 2 });
const v = runtime.random([1, n, h, d], { seed: 3 });

// A number for each head and distance, read where it lies.
const bias = runtime.random([h, n], { seed: 4 });
const { loss, gradients } = differentiate(
  ({ bias }) => {
    const score = scores.from((score, b, h, q, k, { bias, n }) => score + bias[h * n + (q - k)]!, { bias });
    const { out } = attention(q, k, v, { causal: true, score });
    return mean(out);
  },
  { bias },
);

const sizes = (await gradients.bias.read()).map(Math.abs);
console.log(`loss ${(await loss.read())[0]!.toFixed(4)}`);
console.log(`gradient [${gradients.bias.shape}], the largest ${Math.max(...sizes).toExponential(1)}`);

// Prints:
// loss -0.0070
// gradient [2,64], the largest 1.1e-3
