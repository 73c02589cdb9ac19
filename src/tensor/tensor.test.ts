import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { bitsOf } from '../../test/host-tensors';
import { scoped } from '../../test/scoped';
import {
  add,
  BackendError,
  createRuntime,
  DisposedError,
  type DType,
  DTypeError,
  hostTensor,
  multiply,
  ParameterError,
  SaccadeError,
  ShapeError,
  type Tensor,
} from '../index';

const DTYPES: readonly DType[] = ['f32', 'f16', 'bf16', 'i32', 'u8', 'i8'];

/** An array as nested lists, on which views are obvious. */
type Nested = number | Nested[];

function nest(values: ArrayLike<number>, shape: readonly number[]): Nested {
  const [extent, ...rest] = shape;
  if (extent === undefined) return values[0] as number;
  const step = rest.reduce((a, b) => a * b, 1);
  return Array.from({ length: extent }, (_, i) => nest(Array.from(values).slice(i * step, (i + 1) * step), rest));
}

function flatten(nested: Nested): number[] {
  return typeof nested === 'number' ? [nested] : nested.flatMap(flatten);
}

function sliceNested(nested: Nested, axis: number, start: number, end: number): Nested {
  const list = nested as Nested[];
  if (axis === 0) return list.slice(start, end);
  return list.map((inner) => sliceNested(inner, axis - 1, start, end));
}

function permuteNested(nested: Nested, shape: readonly number[], axes: readonly number[]): Nested {
  const at = (index: readonly number[]) => index.reduce<Nested>((inner, i) => (inner as Nested[])[i] as Nested, nested);
  const build = (chosen: readonly number[]): Nested => {
    if (chosen.length === axes.length) return at(shape.map((_, axis) => chosen[axes.indexOf(axis)] as number));
    const extent = shape[axes[chosen.length] as number] as number;
    return Array.from({ length: extent }, (_, i) => build([...chosen, i]));
  };
  return build([]);
}

const shapes = fc.array(fc.nat({ max: 3 }), { maxLength: 4 });
const count = (shape: readonly number[]) => Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);

describeOnBackends('Tensor', (runtime) => {
  const live = () => runtime().memory().live;

  test('what goes in comes out, bit by bit, in every dtype and as a copy', async () => {
    for (const dtype of DTYPES) {
      const host = hostTensor([0, 1, 2, 3, 4, 127], [2, 3], dtype);
      using tensor = runtime().fromHost(host);
      expect(tensor).toMatchObject({
        dtype,
        shape: [2, 3],
        strides: [3, 1],
        offset: 0,
        rank: 2,
        size: 6,
        isContiguous: true,
      });
      expect(bitsOf(await tensor.toHost())).toEqual(bitsOf(host));
      const copy = await tensor.read();
      copy[0] = 99;
      expect((await tensor.read())[0]).toBe(0);
    }
  });

  test('scalars and empty tensors', async () => {
    using scalar = runtime().tensor([7], []);
    expect([...(await scalar.read())]).toEqual([7]);
    using empty = runtime().tensor([], [2, 0, 3]);
    expect([...(await empty.read())]).toEqual([]);
    expect(empty.isContiguous).toBe(true);
    using view = empty.permute([2, 0, 1]).slice(0, 3, 3);
    expect([...(await view.read())]).toEqual([]);
  });

  test('any chain of slices and permutations agrees with nested lists', async () => {
    const steps = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.boolean()), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(shapes, steps, fc.constantFrom(...DTYPES), async (shape, steps, dtype) => {
        await scoped(runtime(), async () => {
          let tensor: Tensor = runtime().fromHost(hostTensor(count(shape), shape, dtype));
          const numbers = async () => [...(await tensor.read())];
          let expected = nest(await numbers(), shape);
          for (const [a, b, c, slices] of steps) {
            if (tensor.rank === 0) break;
            const axis = a % tensor.rank;
            const extent = tensor.shape[axis] as number;
            const [start, end] = [b % (extent + 1), c % (extent + 1)].sort((x, y) => x - y) as [number, number];
            const axes = [...tensor.shape.keys()];
            axes.push(...axes.splice(0, axis));
            axes.splice(b % tensor.rank, 0, axes.pop() as number);
            expected = slices ? sliceNested(expected, axis, start, end) : permuteNested(expected, tensor.shape, axes);
            const before = tensor.shape;
            tensor = slices ? tensor.slice(axis, start, end) : tensor.permute(axes);
            expect(tensor.shape).toEqual(
              slices ? before.map((e, i) => (i === axis ? end - start : e)) : axes.map((i) => before[i]),
            );
            expect(await numbers()).toEqual(flatten(expected));
          }
        });
      }),
      { numRuns: 200 },
    );
    expect(live()).toBe(0);
  });

  test('a reshape keeps the order of the elements, or says that it would need a copy', async () => {
    const factors = fc.array(fc.constantFrom(1, 2, 3), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(factors, fc.nat(), fc.nat(), fc.nat(), fc.boolean(), async (shape, a, b, c, permutes) => {
        await scoped(runtime(), async () => {
          const whole = runtime().tensor(count(shape), shape);
          const axis = a % shape.length;
          const extent = shape[axis] as number;
          const axes = [...shape.keys()];
          axes.splice(b % shape.length, 0, ...axes.splice(axis, 1));
          const view = permutes ? whole.permute(axes) : whole.slice(axis, b % extent, extent);
          const order = [...(await view.read())];
          // Two neighbouring axes merged, or one split off: every reshape is a chain of these.
          const merged = [...view.shape];
          const at = c % view.rank;
          merged.splice(
            at,
            2,
            merged.slice(at, at + 2).reduce((x, y) => x * y, 1),
          );
          const stride = (i: number) => view.strides[i] as number;
          const possible =
            at + 1 >= view.rank ||
            view.shape[at] === 1 ||
            view.shape[at + 1] === 1 ||
            stride(at) === stride(at + 1) * (view.shape[at + 1] as number);
          if (possible) {
            const reshaped = view.reshape(merged);
            expect(reshaped.shape).toEqual(merged);
            expect([...(await reshaped.read())]).toEqual(order);
            expect([...(await reshaped.reshape(view.shape).read())]).toEqual(order);
            expect([
              ...(await view
                .reshape([...view.shape, 1])
                .reshape([1, ...view.shape])
                .read()),
            ]).toEqual(order);
          } else {
            expect(() => view.reshape(merged)).toThrow('without a copy');
          }
        });
      }),
      { numRuns: 300 },
    );
    expect(live()).toBe(0);
  });

  test('expand repeats axes of extent 1 and axes in front, without a copy', async () => {
    const mixed = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.boolean()), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(mixed, fc.array(fc.nat({ max: 3 }), { maxLength: 2 }), async (axes, front) => {
        await scoped(runtime(), async () => {
          const shape = axes.map(([extent, repeats]) => (repeats ? 1 : extent));
          const wide = [...front, ...axes.map(([extent]) => extent)];
          const narrow = runtime().tensor(count(shape), shape);
          const held = live();
          const expanded = narrow.expand(wide);
          expect(live()).toBe(held);
          expect(expanded.shape).toEqual(wide);
          const source = nest(await narrow.read(), shape);
          const repeat = (nested: Nested, from: readonly number[], to: readonly number[]): Nested => {
            const [extent, ...rest] = to;
            if (extent === undefined) return nested;
            const isFront = to.length > from.length;
            return Array.from({ length: extent }, (_, i) => {
              const inner = isFront ? nested : ((nested as Nested[])[from[0] === 1 ? 0 : i] as Nested);
              return repeat(inner, isFront ? from : from.slice(1), rest);
            });
          };
          expect([...(await expanded.read())]).toEqual(flatten(repeat(source, shape, wide)));
        });
      }),
      { numRuns: 100 },
    );
    expect(live()).toBe(0);
  });

  test('reshape to any shape of a contiguous tensor, with one extent left open', async () => {
    using tensor = runtime().tensor(count([24]), [24]);
    for (const [shape, resolved] of [
      [
        [2, 3, 4],
        [2, 3, 4],
      ],
      [
        [4, -1],
        [4, 6],
      ],
      [[-1], [24]],
      [
        [1, 24, 1, -1],
        [1, 24, 1, 1],
      ],
    ] as const) {
      using reshaped = tensor.reshape(shape);
      expect(reshaped.shape).toEqual(resolved);
      expect([...(await reshaped.read())]).toEqual(count([24]));
    }
    using scalar = runtime().tensor([5], [1, 1]);
    using flat = scalar.reshape([]);
    expect([...(await flat.read())]).toEqual([5]);
    using empty = runtime().tensor([], [0, 3]);
    using other = empty.reshape([5, -1]);
    expect(other.shape).toEqual([5, 0]);
  });

  test('views share memory; data shows it in place where JavaScript can address it', () => {
    using tensor = runtime().tensor([0, 1, 2, 3, 4, 5], [2, 3]);
    using row = tensor.slice(0, 1, 2);
    const { name } = runtime().backend;
    if (name !== 'wasm') {
      expect(() => row.data).toThrow(`data of a ${name} tensor is not in host memory: await read()`);
      return;
    }
    row.data[0] = 30;
    expect([...tensor.data]).toEqual([0, 1, 2, 30, 4, 5]);
    using column = tensor.slice(1, 1, 2);
    expect(() => column.data).toThrow('data of a strided view is not in row-major order: await read()');
    using nothing = tensor.slice(1, 3, 3);
    expect(nothing.data).toHaveLength(0);
  });

  test.each<[string, (tensor: Tensor) => unknown, string]>([
    ['slice of an axis that is not there', (t) => t.slice(2, 0, 1), 'axis must be one of the 2 axes of [2, 3], got 2'],
    ['slice of a negative axis', (t) => t.slice(-1, 0, 1), 'axis must be one of the 2 axes of [2, 3], got -1'],
    ['slice beyond the end', (t) => t.slice(1, 0, 4), 'slice of axis 1 must lie within 0 to 3, got 0 to 4'],
    ['slice in reverse', (t) => t.slice(1, 2, 1), 'slice of axis 1 must lie within 0 to 3, got 2 to 1'],
    ['slice at a fraction', (t) => t.slice(1, 0.5, 1), 'got 0.5 to 1'],
    ['slice to NaN', (t) => t.slice(1, 0, Number.NaN), 'got 0 to NaN'],
    ['expand of another extent', (t) => t.expand([4, 3]), 'expand must broadcast [2, 3], got [4, 3]'],
    ['expand to fewer axes', (t) => t.expand([3]), 'expand must broadcast [2, 3], got [3]'],
    [
      'expand to what is no shape',
      (t) => t.expand([2, -3]),
      'shape must have non-negative integer extents, got [2, -3]',
    ],
    ['permutation that repeats', (t) => t.permute([0, 0]), 'permute must name each of the 2 axes once, got [0, 0]'],
    ['permutation too short', (t) => t.permute([1]), 'permute must name each of the 2 axes once, got [1]'],
    ['permutation of another axis', (t) => t.permute([0, 2]), 'permute must name each of the 2 axes once, got [0, 2]'],
    ['reshape to another size', (t) => t.reshape([4]), 'reshape must keep 6 elements of [2, 3], got [4]'],
    ['reshape that does not divide', (t) => t.reshape([4, -1]), 'reshape must keep 6 elements of [2, 3], got [4, -1]'],
    [
      'reshape with two open extents',
      (t) => t.reshape([-1, -1]),
      'reshape must keep 6 elements of [2, 3], got [-1, -1]',
    ],
    [
      'reshape with no elements known',
      (t) => t.reshape([0, -1]),
      'reshape must keep 6 elements of [2, 3], got [0, -1]',
    ],
    [
      'reshape to a negative extent',
      (t) => t.reshape([-2, -3]),
      'shape must have non-negative integer extents, got [-2, -3]',
    ],
  ])('%s is refused and leaves nothing behind', (_, view, message) => {
    {
      using tensor = runtime().tensor(count([2, 3]), [2, 3]);
      expect(() => view(tensor)).toThrow(ShapeError);
      expect(() => view(tensor)).toThrow(message);
    }
    expect(live()).toBe(0);
  });

  test('making a tensor refuses what is not one, and leaves nothing behind', () => {
    expect(() => runtime().tensor([1, 2], [3])).toThrow('shape [3] needs 3 elements, got 2');
    expect(() => runtime().empty([-1])).toThrow(ShapeError);
    expect(() => runtime().empty([1], 'i64' as never)).toThrow(DTypeError);
    expect(() => runtime().fromHost(hostTensor(BigInt64Array.of(1n), [1]) as never)).toThrow(
      'dtype must be one of f32, f16',
    );
    const oversized = { dtype: 'f32', shape: [1], data: new Float32Array(1000) } as const;
    expect(() => runtime().fromHost(oversized)).toThrow('host: shape [1] needs 1 elements, got 1000');
    expect(() => runtime().random([2], { seed: 0.5 })).toThrow(ParameterError);
    expect(live()).toBe(0);
  });

  test('random numbers are the same for the same seed, and differ between seeds', async () => {
    for (const dtype of ['f32', 'f16', 'bf16'] as const) {
      for (const distribution of ['normal', 'uniform'] as const) {
        using a = runtime().random([3, 5], { seed: 4, distribution, dtype });
        using b = runtime().random([15], { seed: 4, distribution, dtype });
        using c = runtime().random([15], { seed: 5, distribution, dtype });
        expect(await a.read()).toEqual(await b.read());
        expect(await a.read()).not.toEqual(await c.read());
      }
    }
  });

  test('random numbers that no memory holds are refused before one is drawn', () => {
    const before = live();
    const log = vi.spyOn(Math, 'log');
    expect(() => runtime().random([2 ** 20, 2 ** 20])).toThrow(BackendError);
    expect(log).not.toHaveBeenCalled();
    log.mockRestore();
    expect(() => runtime().random([2], { seed: 0.5 })).toThrow('seed must be an integer, got 0.5');
    expect(live()).toBe(before);
  });

  test('memory lives as long as the last view of it', async () => {
    const tensor = runtime().tensor(count([4, 4]), [4, 4]);
    const held = live();
    expect(held).toBeGreaterThanOrEqual(64);
    const row = tensor.slice(0, 1, 2);
    const column = tensor.permute([1, 0]);
    expect(live()).toBe(held);
    tensor.dispose();
    row.dispose();
    row.dispose();
    expect(live()).toBe(held);
    expect((await column.read())[1]).toBe(4);
    column.dispose();
    expect(live()).toBe(0);
  });

  test('every use of a disposed tensor is refused by name', async () => {
    const tensor = runtime().tensor([1, 2], [2]);
    expect(tensor.disposed).toBe(false);
    tensor.dispose();
    expect(tensor.disposed).toBe(true);
    await expect(async () => tensor.read()).rejects.toThrow('read(): the tensor of shape [2] was disposed');
    await expect(async () => tensor.toHost()).rejects.toThrow(DisposedError);
    expect(() => tensor.data).toThrow('data: the tensor of shape [2] was disposed');
    expect(() => tensor.slice(0, 0, 1)).toThrow('slice(): the tensor of shape [2] was disposed');
    expect(() => tensor.permute([0])).toThrow('permute(): the tensor of shape [2] was disposed');
    expect(() => tensor.reshape([2, 1])).toThrow(DisposedError);
    tensor.dispose();
    expect(live()).toBe(0);
  });

  test('using frees at the end of the block, also when it throws', () => {
    expect(() => {
      using tensor = runtime().empty([1000]);
      expect(live()).toBeGreaterThanOrEqual(4000);
      throw new Error(`left with ${tensor.size}`);
    }).toThrow('left with 1000');
    expect(live()).toBe(0);
  });
});

describeOnBackends('scope', (runtime) => {
  const live = () => runtime().memory().live;
  const made = (size: number) => runtime().empty([size]);

  test('frees what was made in it except what it returns: alone, in an array, in an object', () => {
    const alone = runtime().scope(() => {
      made(100);
      return made(1);
    });
    const [inArray] = runtime().scope(() => [made(1), 'text'] as const);
    const { inObject } = runtime().scope(() => ({ inObject: made(1), other: null }));
    const { within } = runtime().scope(() => ({ within: [{ deep: made(1) }], size: made(1).size }));
    expect(live()).toBe(16);
    for (const tensor of [alone, inArray, inObject, within[0]!.deep]) {
      expect(tensor.disposed).toBe(false);
      tensor.dispose();
    }
    expect(live()).toBe(0);
  });

  test('a returned view keeps its memory, though its source is freed', async () => {
    using view = runtime().scope(() => runtime().tensor([1, 2, 3], [3]).slice(0, 1, 3));
    expect([...(await view.read())]).toEqual([2, 3]);
  });

  test('reads that it returns are of memory that is kept for them', async () => {
    const reads = runtime().scope(() => {
      const x = runtime().tensor([3], [1]);
      return [add(x, x), multiply(x, x)].map((result) => result.read());
    });
    expect(await Promise.all(reads)).toEqual([Float32Array.of(6), Float32Array.of(9)]);
    expect(live()).toBe(0);
  });

  test('refuses results without an end, frees what was made, and takes what lies in several places', () => {
    const { live } = runtime().memory();
    const endless: unknown[] = [];
    endless.push(1, { endless });
    let deep: unknown = 1;
    for (let level = 0; level < 20_000; level++) deep = [deep];
    for (const [result, message] of [
      [
        endless,
        'what work of scope() returns must be a tree of arrays and objects: [1].endless is one that it lies in',
      ],
      [deep, 'what work of scope() returns must be arrays and objects of at most 500 levels, got more'],
    ] as const)
      expect(() => runtime().scope(() => [made(1), result][1])).toThrow(message);
    const twice = [made(2)];
    runtime().scope(() => [twice, { twice }]);
    for (const each of twice) each.dispose();
    expect(runtime().memory().live).toBe(live);
  });

  test('where the elements of a tensor lie cannot be changed', () => {
    const shape = [2, 3];
    using whole = runtime().empty(shape);
    using part = runtime().scope(() => whole.slice(0, 0, 1).permute([1, 0]));
    shape[0] = 200;
    expect(whole.shape).toEqual([2, 3]);
    for (const tensor of [whole, part] as unknown as Record<string, number[]>[]) {
      for (const name of ['shape', 'strides']) expect(() => tensor[name]!.fill(200)).toThrow(TypeError);
    }
  });

  test('what an inner scope returns passes to the outer one', () => {
    let inner: Tensor | undefined;
    let early: Tensor | undefined;
    const kept = runtime().scope(() => {
      early = made(1);
      inner = runtime().scope(() => made(2));
      expect([inner.disposed, early.disposed]).toEqual([false, false]);
      return runtime().scope(() => made(3));
    });
    expect([early?.disposed, inner?.disposed, kept.disposed]).toEqual([true, true, false]);
    kept.dispose();
    expect(live()).toBe(0);
  });

  test('work that fails frees all it made, and the scopes around it go on', () => {
    runtime().scope(() => {
      const outer = made(1);
      const failing = () =>
        runtime().scope(() => {
          made(2);
          throw new Error('work failed');
        });
      expect(failing).toThrow('work failed');
      expect([outer.disposed, live()]).toEqual([false, 4]);
    });
    expect(live()).toBe(0);
  });

  test('a tensor disposed within its scope, or made before it, is left alone', () => {
    const before = made(1);
    runtime().scope(() => made(1).dispose());
    expect(runtime().scope(() => before).disposed).toBe(false);
    before.dispose();
    expect(live()).toBe(0);
  });

  test('a tensor that ended with its scope says so', () => {
    let mine: Tensor | undefined;
    runtime().scope(() => {
      mine = made(2);
    });
    expect(() => mine?.reshape([1, 2])).toThrow(
      'reshape(): the tensor of shape [2] was disposed by a scope() that ended: return it from there',
    );
  });

  test('work that waits is refused, which frees what it made by then, and its own error is not lost on the process', async () => {
    const later: Tensor[] = [];
    const waits = () =>
      runtime().scope(async () => {
        const early = made(1);
        await Promise.resolve();
        later.push(made(1));
        early.reshape([1]);
      });
    expect(waits).toThrow(SaccadeError);
    expect(waits).toThrow('work of scope() must not wait, got a promise');
    expect(live()).toBe(0);
    // An error that nobody handles would fail this run.
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(later.map(({ disposed }) => disposed)).toEqual([false, false]);
    for (const tensor of later) tensor.dispose();
    expect(live()).toBe(0);
  });

  test('functions that wait between their scopes dispose nothing of each other', async () => {
    const step = async (size: number) => {
      let sum = runtime().tensor(new Float32Array(size), [size]);
      for (let round = 1; round <= 5; round++) {
        const next = runtime().scope(() => add(sum, runtime().tensor(new Float32Array(size).fill(round), [size])));
        sum.dispose();
        sum = next;
        expect([...(await sum.read())]).toEqual(Array(size).fill((round * (round + 1)) / 2));
      }
      sum.dispose();
    };
    await Promise.all([step(1), step(2), step(3)]);
    expect(live()).toBe(0);
  });
});

test('a tensor of a disposed runtime says so, and can still be disposed', async () => {
  const runtime = await createRuntime({ backend: 'reference' });
  const tensor = runtime.tensor([1], [1]);
  runtime.dispose();
  runtime.dispose();
  await expect(async () => tensor.read()).rejects.toThrow('read(): the runtime was disposed');
  expect(() => tensor.data).toThrow(DisposedError);
  expect(() => runtime.empty([1])).toThrow('runtime: the runtime was disposed');
  expect(() => runtime.scope(() => 1)).toThrow('scope(): the runtime was disposed');
  expect(() => tensor.dispose()).not.toThrow();
});
