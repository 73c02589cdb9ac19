// On the GPU where there is one, else on the CPU: the calls are the same, and so are the results.
import { attention, createRuntime, UnsupportedError } from 'saccade';

async function fastest() {
  try {
    return await createRuntime({ backend: 'webgpu' });
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return createRuntime(); // the message says what is missing and what to do
  }
}

const runtimes = [await fastest(), await createRuntime()];
const results = runtimes.map((runtime) => {
  const x = runtime.random([1, 256, 4, 32], { seed: 1 }); // the same numbers on every backend
  return attention(x, x, x, { window: [32, 32] }).out.read();
});

const [here = [], there = []] = await Promise.all(results);
const apart = Math.max(...Array.from(here, (value, at) => Math.abs(value - (there[at] ?? Number.NaN))));
console.log(apart < 1e-5 ? 'as on the CPU' : `${apart} apart`);
for (const runtime of runtimes) runtime.dispose();

// Prints:
// as on the CPU
