// A small Llama learns a line of text by AdamW, with the gated delta rule and exact attention in turns, and goes on with it.
import { argmax, contiguous, createRuntime } from 'saccade';
import { exactAttention, gatedDeltaRule } from 'saccade/methods';
import { createDecoder } from 'saccade/models';
import { adamw, characterTokenizer, train, warmupCosine, windows } from 'saccade/train';

using runtime = await createRuntime();
const text = 'the eye jumps from word to word, and between two jumps it rests. '.repeat(40);
const tokenizer = characterTokenizer(text);
const [n, batch, steps] = [32, 8, 80];
const { batches } = windows(tokenizer.encode(text), { length: n, batch, validation: 0 });

const config = {
  ...{ model_type: 'llama', vocab_size: tokenizer.size, hidden_size: 48, intermediate_size: 96 },
  ...{ num_hidden_layers: 2, num_attention_heads: 4, tie_word_embeddings: true },
};
const decoder = createDecoder(config, { attention: [gatedDeltaRule, exactAttention] });
const parameters = decoder.initialize(runtime, { seed: 1 });
using optimizer = adamw(parameters, { learningRate: 0.01 });

await train({
  ...{ parameters, optimizer, steps, schedule: warmupCosine({ steps, warmup: 8 }), clip: 1 },
  batches: (index) => {
    const rows = runtime.fromHost(batches(index));
    return { tokens: contiguous(rows.slice(1, 0, n)), targets: contiguous(rows.slice(1, 1, n + 1)) };
  },
  loss: (p, { tokens, targets }, { training }) => decoder.loss(p, tokens, targets, { training }),
  onStep: ({ step, loss }) => {
    if (step % 20 === 0) console.log(`step ${step}: loss ${loss.toFixed(1)}`);
  },
});

using cache = decoder.cache(runtime, { capacity: 100 });
let next = tokenizer.encode('the eye ');
let told = '';
for (let at = 0; at < 30; at++) {
  const logits = decoder.step(parameters, runtime.tensor(next, [1, next.length]), cache);
  next = Int32Array.from(await argmax(logits, { axes: [1] }).read());
  told += tokenizer.decode(next);
}
console.log(`the eye ${told}`);

// Prints:
// step 20: loss 0.7
// step 40: loss 0.2
// step 60: loss 0.1
// step 80: loss 0.1
// the eye jumps from word to word, and b
