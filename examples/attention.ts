// Exact attention: 8 heads of 64 over 2048 tokens, causal, in O(n) memory.
import { attention, createRuntime } from 'saccade';

using runtime = await createRuntime();

// [batch, sequence, heads, head dimension]
const shape = [1, 2048, 8, 64];
const q = runtime.random(shape, { seed: 1 });
const k = runtime.random(shape, { seed: 2 });
const v = runtime.random(shape, { seed: 3 });
const { out, lse } = attention(q, k, v, { causal: true });

// The first query sees its own key alone, so its result is the first value.
const [results, values] = [await out.read(), await v.read()];
console.log(`results [${out.shape}], logarithms of the sums [${lse.shape}]`);
console.log(`the first result ${results[0] === values[0] ? 'is' : 'is not'} the first value`);

// Prints:
// results [1,2048,8,64], logarithms of the sums [1,2048,8]
// the first result is the first value
