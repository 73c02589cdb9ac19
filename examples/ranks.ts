// Causal attention whose tokens are divided among ranks: the same program and the same result on one, or on four by
// `saccade cluster run -n 4 examples/ranks.ts`.
import { attention, createRuntime } from 'saccade';
import { communicator, contextParallel } from 'saccade/cluster';

using runtime = await createRuntime({ threads: 1 });
using ranks = await communicator(runtime);
const attend = contextParallel(attention, { communicator: ranks, tokens: 1024, causal: true });
const part = (seed: number) => attend.dispatch(runtime.random([1, 1024, 2, 16], { seed }));
const { out } = attend(part(1), part(2), part(3));
const whole = await attend.undispatch(out).read();
if (ranks.rank === 0) console.log(`${whole.length} numbers, the last ${whole.at(-1)?.toFixed(4)}`);

// Prints:
// 32768 numbers, the last -0.0416
