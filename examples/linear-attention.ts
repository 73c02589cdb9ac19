// Linear attention: a prompt at once, then token by token from the state that it left, of one size for any length.
import { concat, createRuntime, linearAttention, linearAttentionStep, map, max, type Tensor } from 'saccade';
import { eluPlusOne } from 'saccade/feature-maps';

using runtime = await createRuntime();
const [n, prompt, h, d] = [256, 192, 4, 32];
const q = eluPlusOne.forward(runtime.random([1, n, h, d], { seed: 1 }));
const k = eluPlusOne.forward(runtime.random([1, n, h, d], { seed: 2 }));
const v = runtime.random([1, n, h, d], { seed: 3 });
const tokens = (x: Tensor, start: number, end: number) => x.slice(1, start, end);

// By what a head's state is multiplied from token to token.
const decay = [0.9, 0.8, 0.7, 0.6];
const whole = linearAttention(q, k, v, { causal: true, decay });

const read = linearAttention(tokens(q, 0, prompt), tokens(k, 0, prompt), tokens(v, 0, prompt), { causal: true, decay });
const outs = [read.out];
let { state } = read;
for (let at = prompt; at < n; at++) {
  const step = linearAttentionStep(tokens(q, at, at + 1), tokens(k, at, at + 1), tokens(v, at, at + 1), state, {
    decay,
  });
  outs.push(step.out);
  state = step.state;
}

const apart = max(map((x, y) => Math.abs(x - y), whole.out, concat(outs as Tensor<'f32'>[], 1)));
console.log(`the state [${state.shape}] has ${(4 * state.size) / 1024} KiB after ${n} tokens as after ${prompt}`);
console.log((await apart.read())[0]! < 1e-4 ? 'token by token as all at once' : 'they differ');

// Prints:
// the state [1,4,32,32] has 16 KiB after 256 tokens as after 192
// token by token as all at once
