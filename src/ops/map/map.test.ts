import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { add, createRuntime, differentiate, map, multiply, type Runtime, sum, type Tensor } from '../../index';

const read = async (x: Tensor) => [...(await x.read())];

/** Functions with what they are in float64, written once more by hand. */
const FUNCTIONS = [
  [
    (x: number, y: number) => Math.exp(-x * x) * 0.5 + y / (1 + Math.abs(x)),
    (x: number, y: number) => 0.5 / Math.exp(x ** 2) + y / (Math.abs(x) + 1),
  ],
  [
    (x: number, y: number) => {
      const far = Math.max(x, 0.5 * y);
      if (x > y) return far;
      return far < 0 ? -1 : Math.tanh(far) ** 2;
    },
    (x: number, y: number) => {
      const far = Math.max(y / 2, x);
      return x > y ? far : far < 0 ? -1 : Math.tanh(far) * Math.tanh(far);
    },
  ],
  [
    (x: number, y: number) => Math.log1p(x * x) - Math.expm1(Math.min(y, 1)) + (x > 0 && y > 0 ? 1 : 0),
    (x: number, y: number) => Math.log(1 + x * x) - Math.exp(Math.min(y, 1)) + 1 + Number(x > 0 && y > 0),
  ],
] as const;

/** A view of a new tensor, of that shape: turned, or cut out of a larger one. */
function viewOf(runtime: Runtime, shape: readonly number[], seed: number, kind: number): Tensor {
  if (kind === 1) {
    const axes = [...shape.keys()].reverse();
    return runtime.random([...shape].reverse(), { seed }).permute(axes);
  }
  if (kind === 2 && shape.length > 0)
    return runtime
      .random([(shape[0] as number) + 2, ...shape.slice(1)], { seed })
      .slice(0, 1, 1 + (shape[0] as number));
  return runtime.random(shape, { seed });
}

describeOnBackends('map', (runtime) => {
  test('is what the function says of each element, with numbers that change', () =>
    scoped(runtime(), async () => {
      const [x, y] = [runtime().tensor([1, 2, 3], [3]), runtime().tensor([10, 20, 30], [3])];
      for (const rate of [0.5, 2]) {
        const out = map((x, y, { rate }) => x - rate * y, x, y, { captured: { rate } });
        expect(await read(out)).toEqual([1 - rate * 10, 2 - rate * 20, 3 - rate * 30]);
      }
    }));

  test('agrees with float64 on shapes that broadcast, views of every kind, and nothing beside out is written', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 3 }),
        fc.nat(7),
        fc.nat(3),
        fc.nat(2),
        fc.nat(FUNCTIONS.length - 1),
        async (shape, ones, front, kind, at) => {
          const { live } = runtime().memory();
          await scoped(runtime(), async () => {
            const [f, definition] = FUNCTIONS[at] as (typeof FUNCTIONS)[0];
            const narrow = shape
              .map((extent, axis) => (ones & (1 << axis) ? 1 : extent))
              .slice(Math.min(front, shape.length));
            const x = viewOf(runtime(), shape, 1, kind);
            const y = viewOf(runtime(), narrow, 2, kind);
            const { out, check } = guarded(runtime(), shape);
            expect(map(f, x, y, { out })).toBe(out);
            const [left, right] = [await read(x), await read(y.expand(shape))];
            expectClose(
              await read(out),
              left.map((value, i) => definition(value, right[i] as number)),
              1e-5,
            );
            out.dispose();
            await check();
          });
          expect(runtime().memory().live).toBe(live);
        },
      ),
      randomCases(25),
    ));

  test('takes rows longer and shorter than blocks, and 16-bit floats', () =>
    scoped(runtime(), async () => {
      for (const dtype of ['f32', 'f16', 'bf16'] as const) {
        for (const [rows, c] of [
          [3, 5001],
          [700, 30],
        ] as const) {
          const x = runtime().random([rows, c], { seed: 1, dtype });
          const bias = runtime().random([c], { seed: 2, dtype });
          const gain = runtime().random([rows, 1], { seed: 3, dtype });
          const out = map((x, bias, gain) => gain * x + bias, x, bias, gain);
          expect(out.dtype).toBe(dtype);
          const [a, b, g] = [x, bias, gain].map((each) => map((x) => x, each, { dtype: 'f32' })) as [
            Tensor,
            Tensor,
            Tensor,
          ];
          const [xs, bs, gs] = [await read(a), await read(b), await read(g)];
          const expected = xs.map((value, i) => gs[Math.floor(i / c)]! * value + bs[i % c]!);
          const most = { f32: 1e-6, f16: 1e-3, bf16: 8e-3 }[dtype];
          expectClose(
            await read(map((x) => x, out, { dtype: 'f32' })),
            expected,
            expected.map((value) => most * (1 + Math.abs(value))),
          );
        }
      }
    }));

  test('several results and lists of tensors in one call, in place', () =>
    scoped(runtime(), async () => {
      const listOf = (seed: number) => [[5], [20_001], [2, 3], []].map((shape) => runtime().random(shape, { seed }));
      const [p, g, m] = [listOf(1), listOf(2), listOf(3)];
      const decay = runtime().tensor([0.25], [1]).reshape([]);
      const [was, slopes, momenta] = await Promise.all([p, g, m].map((list) => Promise.all(list.map(read))));
      const updated = map(
        (p, g, m, decay, { rate }) => {
          const next = 0.5 * m + g;
          return { m: next, p: p - rate * (next + decay * p) };
        },
        ...[p, g, m, decay],
        { captured: { rate: 0.125 }, out: { p, m } },
      );
      expect(updated.p).toEqual(p);
      for (const [at, each] of p.entries()) {
        const next = momenta![at]!.map((value, i) => 0.5 * value + slopes![at]![i]!);
        expectClose(await read(m[at] as Tensor), next, 1e-6);
        expectClose(
          await read(each),
          was![at]!.map((value, i) => value - 0.125 * (next[i]! + 0.25 * value)),
          1e-6,
        );
      }
      const [a, b] = [runtime().tensor([1, 2], [2]), runtime().tensor([3, 4], [2])];
      expect(map((x, y) => [y, x, x], a, b, { out: [a, b, undefined as never] })[0]).toBe(a);
      expect([await read(a), await read(b)]).toEqual([
        [3, 4],
        [1, 2],
      ]);
    }));

  test('integers stay such and wrap around, and of other dtypes it is said what they become', () =>
    scoped(runtime(), async () => {
      const x = runtime().tensor(Int32Array.of(7, -7, 2 ** 30, 2 ** 24 + 1), [4]);
      const half = runtime().tensor([0.5], [1]);
      const sums = map((x, { two }) => two * x + 1, x, { captured: { two: 2 } });
      expect(sums.dtype).toBe('i32');
      expect(await read(sums)).toEqual([15, -13, -(2 ** 31) + 1, 2 ** 25 + 3]);
      const bits = map((x) => [x % 4, Math.floor(x / 4), (x ^ 1) >> 1, x > 0], x);
      expect(await Promise.all(bits.map(read))).toEqual(
        [
          (x: number) => (x % 4) | 0,
          (x: number) => Math.floor(x / 4),
          (x: number) => (x ^ 1) >> 1,
          (x: number) => +(x > 0),
        ].map((f) => [7, -7, 2 ** 30, 2 ** 24 + 1].map(f)),
      );
      const thirds = map((x) => x / 3, x);
      expect(thirds.dtype).toBe('f32');
      const mixed = map((x, half) => x + half, x, half, { dtype: 'i32' });
      expect((await read(mixed)).slice(0, 2)).toEqual([7, -6]);
      expect(await read(map((x, half) => x * half, x.slice(0, 0, 2), half, { dtype: 'f32' }))).toEqual([3.5, -3.5]);
    }));

  test('the words are what they are called', () =>
    scoped(runtime(), async () => {
      const x = runtime().tensor([-90, -3, -1e-3, 0, 1e-4, 0.7, 5, 100], [8]);
      const out = map(
        (x, { sigmoid, softplus, erf, rsqrt, relu }) => [sigmoid(x), softplus(x), erf(x), rsqrt(Math.abs(x)), relu(x)],
        x,
      );
      const xs = await read(x);
      const erfOf = [-1, -0.9999779095, -1.1283787905e-3, 0, 1.12837916333e-4, 0.6778011938, 1, 1];
      const expected = [
        xs.map((x) => 1 / (1 + Math.exp(-x))),
        xs.map((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
        erfOf,
        xs.map((x) => 1 / Math.sqrt(Math.abs(x))),
        xs.map((x) => Math.max(x, 0)),
      ];
      for (const [at, each] of out.entries())
        expectClose(
          await read(each),
          expected[at]!,
          expected[at]!.map((value) => 1e-6 * Math.abs(value) + 2 ** -126),
        );
    }));

  test('gradients are the slopes, summed where an input was repeated', () =>
    scoped(runtime(), async () => {
      const parameters = {
        x: runtime().random([3, 4], { seed: 1 }),
        y: runtime().random([4], { seed: 2 }),
        z: runtime().random([3, 1], { seed: 3 }),
      };
      const weights = runtime().random([3, 4], { seed: 4 });
      const { gradients } = differentiate(({ x, y, z }) => {
        const { a, b } = map((x, y, z, { rate }) => ({ a: x + z, b: Math.tanh(x * y) / (rate + z * z) }), x, y, z, {
          captured: { rate: 2 },
        });
        return sum(multiply(multiply(a, b), weights));
      }, parameters);
      const values = await Promise.all([parameters.x, parameters.y, parameters.z, weights].map(read));
      const loss = ([x, y, z, w]: number[][]) =>
        x!.reduce((total, value, i) => {
          const [right, column] = [y![i % 4]!, z![Math.floor(i / 4)]!];
          return total + (w![i]! * (value + column) * Math.tanh(value * right)) / (2 + column * column);
        }, 0);
      for (const [at, gradient] of [gradients.x, gradients.y, gradients.z].entries()) {
        const slopes = values[at]!.map((_, i) => {
          const moved = (by: number) =>
            loss(values.map((each, k) => each.map((v, l) => (k === at && l === i ? v + by : v))));
          return (moved(1e-5) - moved(-1e-5)) / 2e-5;
        });
        expectClose(await read(gradient), slopes, 1e-5);
      }
    }));

  test('slopes of powers at 0, and where exponents are 0, are the limits', () =>
    scoped(runtime(), async () => {
      const bases = runtime().tensor([0, 0, 0, 0, 3, -3, -3], [7]);
      const exponents = runtime().tensor([2, 1, 0.5, 0, 0, 0, 2], [7]);
      // One by one: SwiftShader's compiler does not come to an end with both slopes in one kernel.
      const byBase = differentiate((x: Tensor) => sum(map((x, y) => x ** y, x, exponents)), bases).gradients;
      const byExponent = differentiate((y: Tensor) => sum(map((x, y) => x ** y, bases, y)), exponents).gradients;
      expect(await read(byBase as Tensor)).toEqual([0, 1, Number.POSITIVE_INFINITY, 0, 0, 0, -6]);
      const slopes = await read(byExponent as Tensor);
      expectClose(slopes.slice(0, 5), [0, 0, 0, 0, Math.log(3)], 1e-6);
      expect(slopes.slice(5)).toEqual([Number.NaN, Number.NaN]);
    }));

  test('what several items share has the gradients of all of them', () =>
    scoped(runtime(), async () => {
      const parameters = {
        ...{ a: runtime().tensor([1, 2], [2]), b: runtime().tensor([3, 4, 5], [3]) },
        ...{ l: runtime().tensor([0.5], [1]), x: runtime().tensor([2, -3], [2]) },
      };
      const { gradients } = differentiate(({ a, b, l, x }) => {
        const shared = map((x, y) => x * y, [a, b], l);
        const same = map((x, y) => x * y, [x, a, x], x);
        return [...shared, ...same].map((each) => sum(each)).reduce((total, each) => add(total, each));
      }, parameters);
      expect(await read(gradients.l)).toEqual([15]);
      expect(await read(gradients.a)).toEqual([2.5, -2.5]);
      expect(await read(gradients.x)).toEqual([2 * 2 * 2 + 1, 2 * 2 * -3 + 2]);
    }));

  test('captured names with dots are names', async () => {
    using x = runtime().tensor([1], [1]);
    const captured = { 'a.b': 5, a: { b: 7 }, t: { u: x }, 't.u': runtime().tensor([3], [1]) };
    using sums = map((x, c) => x + 10 * c['a.b'] + 100 * c.a.b + 1000 * c['t.u'][0]! + 10000 * c.t.u[0]!, x, {
      captured,
    });
    captured['t.u'].dispose();
    expect(await read(sums)).toEqual([13751]);
    await expectRefusal(
      runtime(),
      () => map((x, c) => x + c['t.u'][0]!, x, { captured }),
      'captured["t.u"]: the tensor of shape [1] was disposed',
    );
  });

  test('refuses what it cannot compute, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using y = runtime().random([4]);
    using whole = runtime().empty([3], 'i32');
    using bytes = runtime().empty([3], 'u8');
    using long = runtime().random([9]);
    using first = long.slice(0, 0, 6);
    using second = long.slice(0, 3, 9);
    using other = await createRuntime({ backend: 'reference' });
    using foreign = other.random([3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => map((x, y) => x + y, x, y), 'y must have a shape that broadcasts with x [2, 3], got [4]');
    await refuse(
      () => map((x, n) => x + n, x, whole),
      "x is f32 and n i32: say what the results are to be, such as { dtype: 'f32' }",
    );
    await refuse(() => map((x) => x, bytes), 'x must be f32, f16, bf16, i32, got u8');
    await refuse(() => map((x, z) => x + z, x, foreign), 'z lives on another runtime than x');
    await refuse(
      () => map((x, y) => x + y, [x, x], [x]),
      'lists of tensors must be of one length of at least 1, got 1 in y and 2 in the first',
    );
    await refuse(
      () => map((x, n) => x + n, [x, whole], [x, whole]),
      'x[1], n[1] must be floats or integers as before them',
    );
    await refuse(() => map((x) => x, first, { out: second }), 'out shares memory with x');
    await refuse(
      () => map((x, y) => [x, y], first, second, { out: [first, second] }),
      'out[0] overlaps y otherwise than exactly',
    );
    await refuse(() => map((x) => [x, -x], first, { out: [first, first] }), 'out[1] shares memory with out[0]');
    await refuse(() => map((x) => ({ a: x }), x, { out: x as never }), 'out must be an object of a, each a Tensor');
    await refuse(
      () =>
        map((x) => {
          for (;;) return x;
        }, x),
      "map: a 'for' loop at 2:",
    );
    await refuse(
      () => map((x) => x + Number.EPSILON, x),
      "map: 'Number' at 1:12 is not a parameter: pass it as captured",
    );
    await refuse(() => map((x, { w }) => x + w, x, { captured: { w: x as never } }), "'w', which is an object,");
    await refuse(() => map(() => 1), 'map needs a tensor after the function');
    await refuse(
      () => map(new Function('return class { #a = 1; static f = (x) => x.#a }.f')(), x),
      "map: the function's source cannot be parsed",
    );
    await refuse(
      () => map(new Function('return function (x, x) { return x; }')(), x, x),
      'map: this parameter at 1:14 cannot be compiled: give it a plain name of its own',
    );
    await refuse(() => map((x) => -x, 3 as never), 'options of map must be an object, got 3');
  });
});
