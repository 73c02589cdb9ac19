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

using runtime = await fastest();
using cpu = await createRuntime();
const results = [runtime, cpu].map((each) => {
  const x = each.random([1, 256, 4, 32], { seed: 1 }); // the same numbers on every backend
  return attention(x, x, x, { window: [32, 32] }).out;
});

const [here, there] = await Promise.all(results.map((out) => out.read()));
const apart = Math.max(...Array.from(here!, (value, at) => Math.abs(value - there![at]!)));
console.log(apart < 1e-5 ? 'as on the CPU' : `${apart} apart`);

// Prints:
// as on the CPU
