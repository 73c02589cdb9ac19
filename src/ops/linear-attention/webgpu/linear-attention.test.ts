/** Linear attention and the gated delta rule by the kernels that a GPU would have, whatever is at hand. */
import { expect, test } from 'vitest';
import { describeAsOnHardware } from '../../../../test/backends';
import { relativeError } from '../../../../test/describe-method';
import { guarded } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import {
  gatedDeltaRule,
  gatedDeltaRuleBackward,
  linearAttention,
  linearAttentionBackward,
  type Tensor,
} from '../../../index';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sizeOf } from '../../../tensor/shape';
import * as rule from '../../gated-delta-rule/recurrence';
import * as linear from '../recurrence';
import { prefixKernel } from './passes';

function random(shape: readonly number[], seed: number, map: (x: number) => number = (x) => x) {
  return hostTensor(normal(sizeOf(shape), seed).map(map) as Float32Array, shape, 'f32') as HostTensor<'f32'>;
}

async function expectEach(actual: object, expected: Readonly<Record<string, HostTensor>>) {
  for (const [name, tensor] of Object.entries(actual))
    expect(relativeError(await (tensor as Tensor).toHost(), expected[name] as HostTensor), name).toBeLessThan(3e-5);
}

// More than a chunk, and more than a tile of either width, one of which is of whole vectors.
const [b, n, h, d, e] = [1, 77, 2, 66, 68];

describeAsOnHardware('linear attention', (runtime) => {
  test.each([
    { causal: true, decay: [0.9, 1] },
    { causal: false, decay: [1, 1] },
  ])('linear attention, causal: $causal', async ({ causal, decay }) => {
    const feature = (x: number) => Math.abs(x) + 0.1;
    const host = {
      ...{ q: random([b, n, h, d], 1, feature), k: random([b, n, 1, d], 2, feature), v: random([b, n, 1, e], 3) },
      ...{ gradOut: random([b, n, h, e], 4), state: random([b, h, d, e], 5), keySum: random([b, h, d], 6, feature) },
    };
    const inputs = { ...host, causal, decay, epsilon: 1e-6 };
    const right = linear.linearAttention(inputs);
    const grads = linear.linearAttentionBackward(inputs);
    await scoped(runtime(), async () => {
      const tensors = Object.values(host).map((x) => runtime().fromHost(x));
      const [q, k, v, gradOut, initialState, initialKeySum] = tensors as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const settings = { causal, initialState, initialKeySum, normalise: true, ...(causal && { decay }) };
      const target = guarded(runtime(), [b, n, h, e]);
      const results = await linearAttention(q, k, v, { ...settings, out: target.out });
      await expectEach(results, right);
      const back = await linearAttentionBackward(q, k, v, { gradOut, ...results }, settings);
      await expectEach(back, { ...grads, gradInitialState: grads.gradState, gradInitialKeySum: grads.gradKeySum });
      await target.check();
    });
  });

  test('the gated delta rule', async () => {
    const host = {
      ...{ q: random([b, n, h, d], 1), k: random([b, n, h, d], 2, (x) => x / 9), v: random([b, n, h, e], 3) },
      ...{ g: random([b, n, h], 4, (x) => -Math.abs(x)), beta: random([b, n, h], 5, Math.abs) },
      ...{ gradOut: random([b, n, h, e], 6), initialState: random([b, h, d, e], 7) },
    };
    const right = rule.gatedDeltaRule(host, 0.1);
    const grads = rule.gatedDeltaRuleBackward(host, host, 0.1);
    await scoped(runtime(), async () => {
      const tensors = Object.values(host).map((x) => runtime().fromHost(x));
      const [q, k, v, g, beta, gradOut, initialState] = tensors as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const settings = { initialState, scale: 0.1 };
      const target = guarded(runtime(), [b, n, h, e]);
      await expectEach(
        await gatedDeltaRule(q, k, v, g, beta, { ...settings, form: 'chunked', out: target.out }),
        right,
      );
      await expectEach(await gatedDeltaRuleBackward(q, k, v, g, beta, { gradOut }, settings), { ...grads });
      await target.check();
    });
  });
});

test('sums of what chunks add to states', () => {
  const ends = { state: true, keySum: false };
  expect(prefixKernel({ initial: ends, final: ends }).body).toMatchInlineSnapshot(`
    "

    fn state_at(head: u32, place: u32) -> u32 { return (head * (numbers.places + 1) + place) * numbers.d * numbers.e; }

    fn power(head: u32, exponent: u32) -> f32 { return load_powers(head * 65 + exponent); }
    fn run(task: u32, lane: u32) {
      let size = numbers.d * numbers.e;
      let blocks = (size + 63) / 64;
      let place = task / blocks;
      let at = task % blocks * 64 + lane;
      if (at >= size) { return; }
      let whole = numbers.first_head + place;
      let head = whole % numbers.h;
      let row = at / numbers.e;
      let column = at % numbers.e;
      var state = 0.0;
      if (numbers.is_first == 0) { state = load_states(state_at(place, numbers.places) + at); }
      else if (column < numbers.own) { state = load_initial(at_initial(whole / numbers.h, head, row, column)); }
      
      for (var chunk = 0u; chunk < numbers.chunks; chunk++) {
        let to = state_at(place, chunk) + at;
        let added = load_states(to);
        store_states(to, state);
        state = fma(power(head, select(numbers.chunk, numbers.last, chunk + 1 == numbers.chunks)), state, added);
      }
      store_states(state_at(place, numbers.places) + at, state);
      if (numbers.is_last == 1 && column < numbers.own) { store_final((whole * numbers.d + row) * numbers.own + column, state); }
      
    }"
  `);
});
