import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import published from '../../test/fixtures/optimizers.json';
import { differentiate, map, type Runtime, sum, type Tensor } from '../index';
import { adamw, globalNorm, muon, type Optimizer, sgd, warmupCosine, warmupStableDecay } from './index';

const PUBLISHED = {
  adamw: (p) => adamw(p, { learningRate: 0.01, betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0.1 }),
  sgd: (p) => sgd(p, { learningRate: 0.02, momentum: 0.7, weightDecay: 0.3 }),
  nesterov: (p) => sgd(p, { learningRate: 0.02, momentum: 0.7, weightDecay: 0.3, nesterov: true }),
  muon: (p) =>
    muon(p, {
      learningRate: 0.05,
      momentum: 0.9,
      weightDecay: 0.2,
      adamw: { learningRate: 0.01, betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0.1 },
    }),
} satisfies Record<string, (parameters: Record<string, Tensor>) => Optimizer>;

const { shapes } = published as unknown as { shapes: Record<string, number[]> };
const tensorsOf = (runtime: Runtime, values: Readonly<Record<string, readonly number[]>>) =>
  Object.fromEntries(Object.entries(values).map(([name, each]) => [name, runtime.tensor(each, shapes[name]!)]));
const disposeAll = (tensors: Readonly<Record<string, Tensor>>) => {
  for (const each of Object.values(tensors)) each.dispose();
};

describeOnBackends('optimisers', (runtime) => {
  for (const [name, make] of Object.entries(PUBLISHED))
    test(`${name} moves parameters as PyTorch does, whatever the gradients are scaled by`, async () => {
      await runtime().finish();
      const before = runtime().memory().live;
      const parameters = tensorsOf(runtime(), published.start);
      const optimizer = make(parameters);
      for (const [at, each] of published.gradients.entries()) {
        const scale = 2 ** at;
        const gradients = tensorsOf(runtime(), each);
        for (const key in gradients)
          map((g, { scale }) => g / scale, gradients[key]!, { captured: { scale }, out: gradients[key]! });
        optimizer.step(gradients, { scale });
        disposeAll(gradients);
      }
      expect(optimizer.steps).toBe(published.gradients.length);
      for (const [key, values] of Object.entries(published.results[name as keyof typeof PUBLISHED]))
        expectClose(await parameters[key]!.read(), values, 2e-5);
      optimizer.dispose();
      disposeAll(parameters);
      await runtime().finish();
      expect(runtime().memory().live).toBe(before);
    });

  test('the schedule scales each step, and a rate of 0 moves nothing', async () => {
    using w = runtime().tensor([1, 2], [2]);
    using g = runtime().tensor([1, -1], [2]);
    using optimizer = sgd({ w }, { learningRate: 1, momentum: 0 });
    optimizer.step({ w: g }, { rate: 0.25 });
    optimizer.step({ w: g }, { rate: 0 });
    expect([...(await w.read())]).toEqual([0.75, 2.25]);
  });

  test('weights of 16 bits add up steps that they cannot hold', async () => {
    for (const dtype of ['f16', 'bf16'] as const) {
      using w = runtime().tensor([1, 1], [2], dtype);
      using optimizer = sgd({ w }, { learningRate: 2 ** -11, momentum: 0 });
      for (let step = 0; step < 16; step++) {
        const { loss, gradients } = differentiate(({ w }) => sum(map((x) => -x, w, { dtype: 'f32' })), { w });
        optimizer.step(gradients);
        loss.dispose();
        gradients.w.dispose();
      }
      using found = map((x) => x + 0, w, { dtype: 'f32' });
      expect([...(await found.read())]).toEqual([1 + 2 ** -7, 1 + 2 ** -7]);
    }
  });

  test('the norm of gradients, of any shapes', async () => {
    const extents = fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 3 }), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(extents, async (all) => {
        const tensors = all.map((shape, seed) => runtime().random(shape, { seed }));
        using norm = globalNorm({ all: tensors });
        let squares = 0;
        for (const each of tensors) for (const value of await each.read()) squares += value * value;
        const [found] = await norm.read();
        expectClose([found! / Math.sqrt(squares)], [1], 1e-6);
        for (const each of tensors) each.dispose();
      }),
      { numRuns: 10 },
    );
    using hard = runtime().tensor([1, Number.NaN], [2]);
    using norm = globalNorm(hard);
    expect(await norm.read()).toEqual(Float32Array.of(Number.NaN));
  });

  test('one gradient may be that of several parameters', async () => {
    using a = runtime().tensor([1], [1]);
    using b = runtime().tensor([2], [1]);
    const { loss, gradients } = differentiate(({ a, b }) => sum(map((a, b) => a + b, a, b)), { a, b });
    using optimizer = adamw({ a, b }, { learningRate: 0.5 });
    optimizer.step(gradients);
    expectClose([...(await a.read()), ...(await b.read())], [0.5, 1.5], 1e-6);
    loss.dispose();
    disposeAll(gradients);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using w = runtime().random([2, 3]);
    using g = runtime().random([3, 2]);
    using i = runtime().tensor([1], [1], 'i32');
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => adamw({}), 'parameters must be at least one tensor by name, got none');
    await refuse(() => adamw({ i }), 'i must be f32, f16 or bf16, got i32');
    await refuse(
      () => adamw({ w }, { learningRate: Number.NaN }),
      'learningRate must be a finite number >= 0, got NaN',
    );
    await refuse(() => sgd({ w }, { momentum: 1 }), 'momentum must be a finite number from 0 to below 1, got 1');
    using turned = w.permute([1, 0]);
    await refuse(() => sgd({ turned }), 'turned [3, 2] must be contiguous');
    using optimizer = muon({ w });
    await refuse(() => optimizer.step({ w: g }), 'the gradient of w must have shape [2, 3], got [3, 2]');
    await refuse(() => optimizer.step({}), 'the gradient of w');
    await refuse(() => optimizer.step({ w, v: w }), "there is no parameter 'v': expected w");
    await refuse(() => optimizer.step({ w }, { rate: Number.NaN }), 'rate must be a finite number >= 0, got NaN');
    expect(optimizer.steps).toBe(0);
  });
});

test('schedules: a hand example', () => {
  const cosine = warmupCosine({ steps: 12, warmup: 4, floor: 0.5 });
  expect([0, 1, 3, 4, 8, 12, 99].map(cosine)).toEqual([0.25, 0.5, 1, 1, 0.75, 0.5, 0.5]);
  const stable = warmupStableDecay({ steps: 12, warmup: 2, decay: 4 });
  expect([0, 1, 2, 8, 9, 10, 11, 12, 99].map(stable)).toEqual([0.5, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]);
  expect([0, 1].map(warmupStableDecay({ steps: 1, decay: 0 }))).toEqual([1, 0]);
  expect(() => warmupStableDecay({ steps: 4, warmup: 2, decay: 3 })).toThrow(
    'decay must be an integer from 0 to 2, got 3',
  );
  expect(() => warmupCosine({ steps: 4, warmup: 5 })).toThrow('warmup must be an integer from 0 to 4, got 5');
});
