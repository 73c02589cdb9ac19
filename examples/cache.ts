// Decoding from a key-value cache: a prompt, then tokens one by one, two of them on trial in a fork.
import { attention, createKeyValueCache, createRuntime } from 'saccade';

using runtime = await createRuntime();
const [heads, d] = [8, 64];
using cache = createKeyValueCache(runtime, { layers: 1, heads, d, capacity: 4096, rope: { theta: 1e4 } });
const token = (n: number, seed: number) => runtime.random([1, n, heads, d], { seed });
const layer = cache.layer(0);

cache.append(0, token(500, 1), token(500, 2)); // keys and values of the prompt
const prompt = attention(layer.rotate(token(500, 3)), layer); // causal: its queries are the last 500 tokens
console.log(`prompt [${prompt.out.shape}], ${cache.lengths} tokens, ${cache.bytes / 1024} KiB`);

for (let step = 0; step < 20; step++) {
  cache.append(0, token(1, 10 + step), token(1, 40 + step));
  attention(layer.rotate(token(1, 70 + step)), layer);
}

using draft = cache.fork([0]); // shares all pages until one of the two writes
draft.append(0, token(2, 100), token(2, 101));
draft.truncate(521); // one of the two was refused
console.log(`${cache.lengths} tokens, ${draft.lengths} in the fork, together ${cache.bytes / 1024} KiB`);

// Prints:
// prompt [1,500,8,64], 500 tokens, 2048 KiB
// 520 tokens, 521 in the fork, together 2304 KiB
