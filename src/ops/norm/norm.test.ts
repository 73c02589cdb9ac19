import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, isOnGpu, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { show } from '../../check';
import { groupBy } from '../../group-by';
import {
  createRuntime,
  groupNorm,
  layerNorm,
  pullback,
  type Runtime,
  rmsNorm,
  rmsNormBackward,
  type Tensor,
} from '../../index';
import { normal } from '../../tensor/random';

/** What a norm is, in plain words: of x [b, ..., c] each group of channels of a b, or each row where there are no groups. */
interface Definition {
  readonly groups?: number;
  readonly centred: boolean;
  readonly epsilon: number;
  readonly offset: number;
}

interface Problem {
  readonly kind: 'layer' | 'rms' | 'group';
  readonly shape: number[];
  readonly isAffine: boolean;
  readonly groups: number;
  readonly epsilon: number | undefined;
  readonly offset: number | undefined;
}

const problems: fc.Arbitrary<Problem> = fc
  .record({
    kind: fc.constantFrom('layer', 'rms', 'group'),
    shape: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 2, max: 7 })),
    groups: fc.integer({ min: 1, max: 3 }),
    isAffine: fc.boolean(),
    epsilon: fc.constantFrom(undefined, 1e-3, 0.5),
    offset: fc.constantFrom(undefined, 0.25),
  })
  .map((problem) => {
    const [b, n, c] = problem.shape as [number, number, number];
    return problem.kind === 'group' ? { ...problem, shape: [b, n, c * problem.groups] } : problem;
  });

describeOnBackends('norms', (runtime) => {
  test('hand examples', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().tensor([1, 3, -5, 5], [2, 2]);
      const [gain, bias] = [runtime().tensor([1, 2], [2]), runtime().tensor([0, 10], [2])];
      expectClose(await layerNorm(x, { gain, bias, epsilon: 0 }).read(), [-1, 12, -1, 12], 1e-5);
      const rows = runtime().tensor([3, 4, 0, 0, 0, -2], [3, 2]);
      const roots = [0.6 * Math.SQRT2, 0.8 * Math.SQRT2, 0, 0, 0, -Math.SQRT2];
      expectClose(await rmsNorm(rows, { epsilon: 0 }).read(), roots, 1e-6);
      // Channels 0 and 1 of both places together, and channels 2 and 3.
      const places = runtime().tensor([1, 1, 5, 9, 3, 3, 9, 5], [1, 2, 4]);
      expectClose(await groupNorm(places, 2, { epsilon: 0 }).read(), [-1, -1, -1, 1, 1, 1, 1, -1], 1e-5);
    });
  });

  test('and their gradients agree with the definitions on any shape', async () => {
    await fc.assert(
      fc.asyncProperty(problems, async (problem) => {
        await scoped(runtime(), () => expectDefinition(runtime(), problem));
      }),
      randomCases(30),
    );
  });

  const large = [
    { shape: [3, 1030], groups: undefined },
    { shape: [2, 900, 40], groups: 5 },
    { shape: [700, 30], groups: undefined },
    { shape: [150, 2, 12], groups: 3 },
    { shape: [1, 3, 1000], groups: 2 },
  ];
  test.each(fewOnGpu(large, 2))('of $shape in groups: $groups, and the sums for gains', async ({ shape, groups }) => {
    const c = shape.at(-1) as number;
    await scoped(runtime(), async () => {
      const x = runtime().random(shape, { seed: 1 });
      const gradOut = runtime().random(shape, { seed: 2 });
      const gain = runtime().tensor(new Float32Array(c).fill(1), [c]);
      const bias = runtime().tensor(new Float32Array(c), [c]);
      const { results: normal, pull } = pullback(
        ({ x, ...affine }) => (groups ? groupNorm(x, groups, affine) : layerNorm(x, affine)),
        { x, gain, bias },
      );
      const gradients = pull(gradOut);
      const definition = { ...(groups && { groups }), centred: true, epsilon: 1e-5, offset: 0 };
      const [values, grads] = [await normal.read(), await gradOut.read()];
      expectClose(values, defined(await x.read(), shape, definition), 2e-5);
      const [ofGain, ofBias] = [new Float64Array(c), new Float64Array(c)];
      grads.forEach((grad, at) => {
        ofGain[at % c]! += grad * values[at]!;
        ofBias[at % c]! += grad;
      });
      expectClose(await gradients.gain.read(), ofGain, 1e-3);
      expectClose(await gradients.bias.read(), ofBias, 1e-3);
    });
  });

  test('hold their accuracy far from zero and on equal elements, and NaN and infinities stay in their rows', async () => {
    const c = 65;
    const rows = [
      (i: number) => 1000 + (i % 7),
      () => 42.1,
      () => 0,
      (i: number) => 1e-40 * (i % 3),
      (i: number) => (i === 3 ? Number.NaN : i),
      (i: number) => (i === 64 ? -Infinity : i),
      (i: number) => 1e15 * (i % 5),
    ];
    const values = Float32Array.from({ length: rows.length * c }, (_, i) => rows[Math.floor(i / c)]!(i % c));
    await scoped(runtime(), async () => {
      const x = runtime().tensor(values, [rows.length, c]);
      const layer = await layerNorm(x).read();
      expectClose(layer, defined(values, x.shape, { centred: true, epsilon: 1e-5, offset: 0 }), 1e-3);
      expect([...layer.subarray(c, 3 * c)].every((value) => value === 0)).toBe(true);
      const roots = await rmsNorm(x).read();
      expectClose(roots, defined(values, x.shape, { centred: false, epsilon: 1e-6, offset: 0 }), 1e-5);
    });
  });

  test('and their gradients hold their accuracy where squares leave float32, beside rows where they do not', async () => {
    const [places, c] = [3, 40];
    const count = places * c;
    const sizes = [1e30, 1, 3.4e38, 1e-30, 2e19, 1e-22];
    const shape = [sizes.length, places, c];
    const noise = normal(2 * sizes.length * count, 7);
    const values = Float32Array.from({ length: sizes.length * count }, (_, i) => {
      const size = sizes[Math.floor(i / count)]!;
      // Of the largest, all that float32 holds: some rows' sums overflow, too.
      return size > 3e38 ? (i % 5 === 0 ? -size : size) : size * noise[i]!;
    });
    const grads = Float32Array.from(noise.subarray(values.length));
    await scoped(runtime(), async () => {
      const gradOut = runtime().tensor(grads, shape);
      const x = runtime().tensor(values, shape);
      const affine = {
        gain: runtime().tensor(new Float32Array(c).fill(1), [c]),
        bias: runtime().tensor(new Float32Array(c), [c]),
      };
      const both = [1e-5, 0];
      for (const [name, norm, epsilons, groups] of [
        ['layer', (x: Tensor, epsilon: number) => layerNorm(x, { ...affine, epsilon }), both],
        ['rms', (x: Tensor, epsilon: number) => rmsNorm(x, { epsilon }), both],
        ['group', (x: Tensor, epsilon: number) => groupNorm(x, 2, { ...affine, epsilon }), [0], 2],
      ] as const) {
        for (const epsilon of epsilons) {
          const { results, pull } = pullback(({ x }) => norm(x, epsilon), { x });
          const [out, gradient] = [await results.read(), await pull(gradOut).x.read()];
          sizes.forEach((size, row) => {
            const [from, to] = [row * count, (row + 1) * count];
            const definition = {
              ...(groups && { groups }),
              centred: name !== 'rms',
              epsilon: epsilon / size ** 2,
              offset: 0,
            };
            const of = (x: ArrayLike<number>) => defined(x, [1, places, c], definition);
            const unit = Float64Array.from(values.subarray(from, to), (value) => value / size);
            const normalised = of(unit);
            expectClose(out.subarray(from, to), normalised, 1e-5 * largest(normalised));
            const expected = numericGradient(of, unit, grads.subarray(from, to), 1e-5).map((grad) => grad / size);
            // A GPU may flush what is denormal.
            expectClose(gradient.subarray(from, to), expected, 1e-4 * largest(expected) + (isOnGpu ? 1e-37 : 0));
          });
        }
      }
    });
  });

  test('a row of zeros stays one, with a finite gradient', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().tensor(new Float32Array(6), [1, 6]);
      const gradOut = runtime().random([1, 6]);
      for (const options of [{ epsilon: 0 }, { epsilon: 0, offset: 1e-8 }]) {
        expect([...(await rmsNorm(x, options).read())]).toEqual(new Array(6).fill(0));
        expect([...(await rmsNormBackward(x, gradOut, options).read())].every(Number.isFinite)).toBe(true);
      }
    });
  });

  test('refuse what does not fit, by name, and free everything', async () => {
    using x = runtime().random([2, 4]);
    using c = runtime().random([4]);
    using short = runtime().random([3]);
    using swapped = x.permute([1, 0]);
    using single = runtime().random([]);
    using empty = runtime().empty([0, 4]);
    using integers = runtime().tensor(new Int32Array(4), [4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const fit = 'must have shape [c] with c = 4 as in x [2, 4], got';
    await refuse(() => layerNorm(x, { gain: short, bias: c }), `gain ${fit} [3]`);
    await refuse(() => layerNorm(x, { gain: c, bias: x }), `bias ${fit} [2, 4]`);
    await refuse(() => rmsNorm(x, { gain: short }), `gain ${fit} [3]`);
    await refuse(() => rmsNorm(x, { bias: c } as never), "rmsNorm has no option 'bias'");
    await refuse(() => layerNorm(x, { bias: integers }), 'bias must be f32, got i32');
    await refuse(() => layerNorm(swapped), 'x [4, 2] must be contiguous, got strides [1, 4]');
    await refuse(() => rmsNorm(single), 'x must have shape [..., c], got []');
    await refuse(() => layerNorm(empty), 'x [0, 4] is empty');
    await refuse(() => groupNorm(c, 2), 'x must have shape [b, ..., c], got [4]');
    await refuse(() => groupNorm(x, 3), 'groups must divide c = 4 of x [2, 4], got 3');
    await refuse(() => groupNorm(x, 0), 'groups must be an integer >= 1, got 0');
    await refuse(() => rmsNormBackward(x, c), 'gradOut must have the shape of x [2, 4], got [4]');
    await refuse(() => layerNorm(c, { gain: c, out: c }), 'out shares memory with x');
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1' as unknown as number]) {
      const wanted = `must be a finite number >= 0, got ${show(value)}`;
      await refuse(() => layerNorm(x, { epsilon: value }), `epsilon ${wanted}`);
      await refuse(() => rmsNorm(x, { offset: value }), `offset ${wanted}`);
    }
  });
});

test.skipIf('document' in globalThis)('gradients have the same bits on any number of threads', async () => {
  const bits: string[] = [];
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    await scoped(runtime, async () => {
      const x = runtime.random([900, 130], { seed: 1 });
      const gain = runtime.random([130], { seed: 2 });
      const inputs = { x, gain, bias: runtime.random([130], { seed: 3 }) };
      const gradients = pullback(({ x, ...affine }) => layerNorm(x, affine), inputs).pull(x);
      const read = await Promise.all(Object.values(gradients).map((gradient) => gradient.read()));
      bits.push(read.map((values) => new Uint32Array(values.slice().buffer).join()).join());
    });
  }
  expect(new Set(bits).size).toBe(1);
});

const largest = (values: Float64Array) => Math.max(...values.map(Math.abs));

async function expectDefinition(runtime: Runtime, problem: Problem): Promise<void> {
  const { kind, shape, isAffine, groups, epsilon, offset } = problem;
  const c = shape.at(-1) as number;
  const inputs = {
    x: runtime.random(shape, { seed: c }),
    ...(isAffine && { gain: runtime.random([c], { seed: 2 }) }),
    ...(isAffine && kind !== 'rms' && { bias: runtime.random([c], { seed: 3 }) }),
  };
  const gradOut = runtime.random(shape, { seed: 4 });
  const norm = ({ x, ...affine }: { x: Tensor; gain?: Tensor; bias?: Tensor }, out?: Tensor<'f32'>) => {
    if (kind === 'rms') return rmsNorm(x, { ...affine, epsilon, offset, out });
    return kind === 'group'
      ? groupNorm(x, groups, { ...affine, epsilon, out })
      : layerNorm(x, { ...affine, epsilon, out });
  };
  const definition: Definition = {
    ...(kind === 'group' && { groups }),
    centred: kind !== 'rms',
    epsilon: epsilon ?? (kind === 'rms' ? 1e-6 : 1e-5),
    offset: kind === 'rms' ? (offset ?? 0) : 0,
  };
  const values = Object.fromEntries(
    await Promise.all(Object.entries(inputs).map(async ([name, tensor]) => [name, await tensor.read()] as const)),
  );
  const results = (moved: Readonly<Record<string, ArrayLike<number>>>) =>
    defined(moved.x as ArrayLike<number>, shape, definition, moved.gain, moved.bias);
  const { out, check } = guarded(runtime, shape);
  expect(norm(inputs, out)).toBe(out);
  expectClose(await out.read(), results(values), 2e-5);
  out.dispose();
  await check();
  // Of two elements or fewer the gradient is all rounding.
  if (kind === 'layer' && c < 3) return;
  const gradients = pullback((tensors) => norm(tensors), inputs).pull(gradOut);
  const weights = await gradOut.read();
  for (const [name, value] of Object.entries(values)) {
    const numeric = numericGradient((moved) => results({ ...values, [name]: moved }), value, weights, 1e-5);
    const tolerance = numeric.map((grad) => 1e-3 * Math.max(1, Math.abs(grad)));
    expectClose(await (gradients[name as 'x'] as Tensor).read(), numeric, tolerance);
  }
}

function defined(
  x: ArrayLike<number>,
  shape: readonly number[],
  { groups, centred, epsilon, offset }: Definition,
  gain?: ArrayLike<number>,
  bias?: ArrayLike<number>,
): Float64Array {
  const c = shape.at(-1) as number;
  const ofBatch = x.length / (shape[0] as number);
  const groupOf = (at: number) =>
    groups ? Math.floor(at / ofBatch) * groups + Math.floor((at % c) / (c / groups)) : Math.floor(at / c);
  const members = groupBy(Array.from(x).keys(), groupOf);
  const out = new Float64Array(x.length);
  for (const places of members.values()) {
    const mean = centred ? places.reduce((sum, at) => sum + x[at]!, 0) / places.length : 0;
    const variance = places.reduce((sum, at) => sum + (x[at]! - mean) ** 2, 0) / places.length;
    const divisor = Math.sqrt(variance + epsilon) + offset;
    for (const at of places) out[at] = ((x[at]! - mean) / divisor) * (gain?.[at % c] ?? 1) + (bias?.[at % c] ?? 0);
  }
  return out;
}
