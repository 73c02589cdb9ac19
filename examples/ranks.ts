// Causal attention whose tokens are divided among ranks: the same program and the same result on one, or on four by
// `saccade cluster run -n 4 ranks.mjs`.
import { attention, createRuntime } from 'saccade';
import { communicator, contextParallel } from 'saccade/cluster';

const runtime = await createRuntime({ threads: 1 });
const ranks = await communicator(runtime);
const attend = contextParallel(attention, { communicator: ranks, tokens: 1024, causal: true });
const shape = [1, 1024, 2, 16];
const q = attend.dispatch(runtime.random(shape, { seed: 1 }));
const k = attend.dispatch(runtime.random(shape, { seed: 2 }));
const v = attend.dispatch(runtime.random(shape, { seed: 3 }));
const whole = await attend.undispatch(attend(q, k, v).out).read();
if (ranks.rank === 0) console.log(`${whole.length} numbers, the last ${whole.at(-1)?.toFixed(4)}`);
ranks.dispose();
runtime.dispose();

// Prints:
// 32768 numbers, the last -0.0416
