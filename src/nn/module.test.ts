import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { expectGradients } from '../../test/tape-gradients';
import { add, createRuntime, multiply, sum } from '../index';
import { readSafetensors, writeSafetensors } from '../io';
import { differentiate, recompute } from '../tape';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { linear } from './linear';
import { countParameters, defineModule, initial, partOf, prefixed, splitBuffers } from './module';
import { TrainingPass } from './training';
import { transnormerBlock } from './transnormer-block';

const affine = defineModule({
  name: 'affine',
  parameters: {
    weight: { shape: [2, 3], initial: { std: 0.5 } },
    bias: { shape: [2], initial: { value: 0.25 } },
    scale: { shape: [2], initial: { values: [2, -1] } },
  },
  forward: (x, { weight, bias, scale }, control) => multiply(linear(x, weight, { bias, ...control }), scale),
});

describeOnBackends('modules', (runtime) => {
  const tensor = (values: readonly number[], ...shape: number[]) => runtime().tensor(values, shape);

  test('linear has weights [out, in]', () =>
    scoped(runtime(), async () => {
      const [x, weight] = [tensor([1, 2, 3, 0, -1, 1], 2, 3), tensor([1, 0, 2, -1, 1, 1], 2, 3)];
      expectClose(await linear(x, weight).read(), [7, 4, 2, 0], 0);
      expectClose(await linear(x, weight, { bias: tensor([0.5, -1], 2) }).read(), [7.5, 3, 2.5, -1], 0);
      const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
      const square = tensor([1, 2, 3, 4], 2, 2);
      await refuse(() => linear(x, square), 'weight must have shape [out, in] with in = 3 as in x [2, 3], got [2, 2]');
      const bias = tensor([1, 2, 3], 3);
      await refuse(
        () => linear(x, weight, { bias }),
        'bias must have shape [out] with out = 2 as in weight [2, 3], got [3]',
      );
      await refuse(() => linear(bias, weight), 'x must have shape [..., n, in], got [3]');
    }));

  test('gradients reach the input and every parameter', () =>
    expectGradients(runtime(), {
      fn: ({ x, ...parameters }) => affine.forward(x!, parameters),
      inputs: { x: [2, 5, 3], weight: [2, 3], bias: [2], scale: [2] },
    }));

  test('initial parameters are as described, and the same for a seed', () =>
    scoped(runtime(), async () => {
      const read = async (seed?: number) => {
        const { weight, bias, scale } = initial(affine, runtime(), seed);
        return [await weight!.read(), await bias!.read(), await scale!.read()];
      };
      const [first, again, other] = [await read(), await read(0), await read(1)];
      expect(first).toEqual(again);
      expect(first[0]).not.toEqual(other[0]);
      expect(first.slice(1)).toEqual([Float32Array.of(0.25, 0.25), Float32Array.of(2, -1)]);
      const wide = { ...affine, parameters: { weight: { shape: [60, 60], initial: { std: 0.5 } } } };
      const values = await initial(wide, runtime()).weight!.read();
      expect(Math.sqrt(values.reduce((total, value) => total + value * value, 0) / 3600)).toBeCloseTo(0.5, 1);
    }));

  test('parameters go through a checkpoint, under a prefix of theirs', () =>
    scoped(runtime(), async () => {
      const [x, parameters] = [runtime().random([1, 4, 3]), initial(affine, runtime())];
      const named = prefixed(parameters, 'layers.0');
      const hosts = await Promise.all(Object.entries(named).map(async ([name, each]) => [name, await each.toHost()]));
      const loaded = partOf(readSafetensors(writeSafetensors(Object.fromEntries(hosts))), 'layers.0');
      const tensors = Object.entries(loaded).map(([name, host]) => [
        name,
        runtime().fromHost(host as HostTensor<'f32'>),
      ]);
      const again = affine.forward(x, Object.fromEntries(tensors));
      expect(await again.read()).toEqual(await affine.forward(x, parameters).read());
    }));

  test('what does not fit is refused by name', () =>
    scoped(runtime(), async () => {
      const [x, parameters] = [runtime().random([1, 4, 3]), initial(affine, runtime())];
      const { weight, bias, scale } = parameters as Record<'weight' | 'bias' | 'scale', Tensor>;
      const half = runtime().tensor([1, 2], [2], 'f16');
      const refuse = (given: Record<string, Tensor>, message: string, control?: object) =>
        expectRefusal(runtime(), () => affine.forward(x, given, control), message);
      await refuse({ weight, bias }, "affine needs a parameter 'scale'");
      await refuse({ weight, bias, scale, gain: bias }, "affine has no parameter 'gain': expected weight, bias, scale");
      await refuse({ weight, bias: weight, scale }, 'bias must have shape [2], got [2, 3]');
      await refuse({ weight, bias: half, scale }, 'bias must be f32 as x is, got f16');
      await refuse(parameters, "control has no 'onProgress'", { onProgress: () => {} });
      const large = { parameters: { w: { shape: [2 ** 22, 2 ** 22], initial: { value: 0 } } } };
      const refusal = /^parameters need 64.0 TiB beside the .* that are held: more than there is$/;
      expect(() => initial(large, runtime())).toThrow(refusal);
      await refuse(parameters, 'stopped', { signal: AbortSignal.abort(new Error('stopped')) });
    }));

  test('a stack of blocks under recompute peaks at less than half, with the same gradients', () =>
    scoped(runtime(), async () => {
      const blocks = [1, 2, 3, 4, 5, 6].map((layer) =>
        transnormerBlock({ width: 16, heads: 2, hidden: 44, layer, layers: 7 }),
      );
      const parameters = blocks.map((block, seed) => initial(block, runtime(), 10 * seed));
      const x = runtime().random([1, 128, 16]);
      const train = async (keeps: boolean) => {
        await runtime().finish();
        runtime().backend.resetPeak();
        const before = runtime().memory().live;
        const { gradients } = differentiate((all) => {
          const out = blocks.reduce<Tensor>((h, block, at) => {
            const call = (x: Tensor, given: Record<string, Tensor>) => block.forward(x, given);
            return keeps ? call(h, all[at]!) : recompute(call, h, all[at]!);
          }, x);
          return sum(multiply(out, out));
        }, parameters);
        await runtime().finish();
        const peak = runtime().memory().peak - before;
        return { peak, gradients: await Promise.all(gradients.flatMap(Object.values).map((each) => each.read())) };
      };
      const [kept, recomputed] = [await train(true), await train(false)];
      expect(recomputed.gradients).toEqual(kept.gradients);
      // A GPU is given its calls later than they are made, and what they read is held until then.
      if (runtime().backend.name !== 'webgpu') expect(recomputed.peak).toBeLessThan(kept.peak / 2);
    }));
});

/** The sum of a low and a high picture, scaled: in training with noise, and a buffer adds up what it gave. */
const crossed = defineModule({
  name: 'crossed',
  inputs: ['low'],
  optional: ['high'],
  parameters: {
    scale: { shape: [3], initial: { value: 2 } },
    total: { shape: [], initial: { value: 0 }, isBuffer: true },
  },
  forward({ low, high }: { readonly low: Tensor; readonly high?: Tensor | undefined }, { scale, total }, { training }) {
    const noise = training && low.runtime.random([3], { seed: training.seed });
    const scaled = multiply(add(low, high ?? low), noise ? add(scale, noise) : scale);
    training?.update(total, add(total, sum(scaled)));
    return { scaled, parts: [sum(scaled), sum(low)] as const };
  },
});

test('a module takes and gives several tensors, holds buffers, and knows training from inference', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const { parameters, buffers } = splitBuffers(crossed, initial(crossed, runtime));
  expect([Object.keys(parameters), Object.keys(buffers)]).toEqual([['scale'], ['total']]);
  expect(countParameters(crossed)).toBe(3);
  const x = { low: runtime.tensor([1, 2, 3], [3]), high: runtime.tensor([3, 2, 1], [3]) };
  const value = async (tensor: Tensor) => (await tensor.read())[0];
  const all = { ...parameters, ...buffers };
  const inferred = crossed.forward(x, all);
  expect([await value(inferred.parts[0]), await value(inferred.parts[1])]).toEqual([24, 6]);
  expect(await value(crossed.forward({ low: x.low, high: undefined }, all).scaled)).toBe(4);

  const passes = [1, 1, 2].map((seed) => new TrainingPass(seed));
  const losses = passes.map((training, at) => {
    const call = (p: Record<string, Tensor>) => crossed.forward(x, { ...p, ...buffers }, { training }).parts[0];
    return differentiate((p) => (at === 1 ? recompute(call, p) : call(p)), parameters);
  });
  const [first, second, third] = await Promise.all(losses.map(({ loss }) => value(loss)));
  expect(second).toBe(first);
  expect(third).not.toBe(first);
  expect(await losses[1]!.gradients.scale!.read()).toEqual(await losses[0]!.gradients.scale!.read());
  // Buffers change when the pass is over, and once, though a block was computed twice.
  expect(await value(buffers.total!)).toBe(0);
  for (const pass of passes.slice(0, 2)) pass.apply(buffers);
  expect(await value(buffers.total!)).toBeCloseTo(first!, 4);
  passes[2]!.dispose();

  const refuse = (call: () => unknown, message: string) => expectRefusal(runtime, call, message);
  await refuse(() => crossed.forward({ low: 1 } as never, all), 'x.low must be a Tensor, got 1');
  await refuse(() => crossed.forward({ ...x, mid: x.low } as never, all), "x has no 'mid': expected low, high");
  await refuse(() => crossed.forward(x, all, { training: true } as never), 'training must be a TrainingPass, got true');
  const training = new TrainingPass();
  const tracked = () => differentiate((p) => crossed.forward(x, p, { training }).parts[0], all);
  await refuse(tracked, 'buffer is tracked by a tape: differentiate with respect to parameters only');
  crossed.forward(x, all, { training });
  expect(() => training.apply({})).toThrow('buffers must be all that the pass updated, got 1 too few');
});

test('descriptions of parameters are checked, and counted', () => {
  const make = (parameter: unknown) => () =>
    defineModule({ name: 'mine', parameters: { w: parameter as never }, forward: (x) => x as Tensor<'f32'> });
  expect(make({ shape: [-1], initial: { value: 0 } })).toThrow('shape of w must have non-negative integer extents');
  expect(make({ shape: [2], initial: {} })).toThrow('initial of w must be one of std, value and values');
  expect(make({ shape: [2], initial: { value: Number.NaN } })).toThrow('value of w must be finite, got NaN');
  expect(make({ shape: [2], initial: { values: [1] } })).toThrow('values of w must be 2, those of [2], got 1');
  expect(make({ shape: [2], initial: { uniform: 1 } })).toThrow("initial of w has no 'uniform'");
  expect(countParameters(affine)).toBe(10);
});
