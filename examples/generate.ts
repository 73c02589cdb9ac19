// The default model, which comes with the library, continues a text word by word, in old books' style.
import { createRuntime } from 'saccade';
import { loadDefaultModel } from 'saccade/default-model';

using runtime = await createRuntime();
using model = await loadDefaultModel({ runtime });
let line = 'Call me Ishmael.';
for await (const { text } of model.generate(line, { maxTokens: 80, temperature: 0.7, topP: 0.9, seed: 1 })) {
  line += text;
  if (line.length < 80 || !text.startsWith(' ')) continue;
  console.log(line.slice(0, -text.length));
  line = text.trimStart();
}
console.log(line);
console.log(`${(model.cacheBytes / 2 ** 20).toFixed(1)} MiB of keys and values`);

// Prints:
// Call me Ishmael.
//
// "Before I snoose now, I'm never die."
//
// "I will see my crewal
// towing down my paus, my lucking-board-feck, my sharks!—that's I am here?—I'll
// know that I'm sir, I've't see that
// 0.6 MiB of keys and values
