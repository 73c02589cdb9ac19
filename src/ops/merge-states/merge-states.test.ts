import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { type AttentionState, attention, createRuntime, mergeStates, type Runtime } from '../../index';
import { toFloat64 } from '../../tensor/host';
import { mergeStatesBackward } from '.';

/** By the definition: softmax over parts of the lses, and the outs by these weights. */
function merged(outs: readonly ArrayLike<number>[], lses: readonly ArrayLike<number>[]) {
  const rows = lses[0]!.length;
  const columns = outs[0]!.length / rows;
  const lse = Float64Array.from({ length: rows }, (_, row) => {
    const most = Math.max(...lses.map((each) => each[row]!));
    return most === -Infinity
      ? most
      : most + Math.log(lses.reduce((sum, each) => sum + Math.exp(each[row]! - most), 0));
  });
  const out = Float64Array.from({ length: rows * columns }, (_, i) => {
    const row = Math.floor(i / columns);
    return outs.reduce(
      (sum, each, at) => (lses[at]![row] === -Infinity ? sum : sum + Math.exp(lses[at]![row]! - lse[row]!) * each[i]!),
      0,
    );
  });
  return { out, lse };
}

const replaced = <T>(list: readonly T[], at: number, value: T) => list.map((each, i) => (i === at ? value : each));

/** Random parts, some rows of which saw no key. */
function partsOf(
  runtime: Runtime,
  count: number,
  shape: readonly number[],
  dtype: 'f32' | 'f16' | 'bf16' = 'f32',
): AttentionState[] {
  return Array.from({ length: count }, (_, at) => {
    const lses = Float32Array.from({ length: shape.slice(0, -1).reduce((a, b) => a * b, 1) }, (_, row) =>
      (row + at) % 3 === 0 || row === 1 ? -Infinity : 20 * Math.sin(7 * row + at),
    );
    return {
      out: runtime.random(shape, { seed: at, dtype }),
      lse: runtime.tensor(lses, shape.slice(0, -1)),
    };
  });
}

const valuesOf = async (parts: readonly AttentionState[]) => ({
  outs: await Promise.all(parts.map(async ({ out }) => toFloat64(await out.toHost()))),
  lses: await Promise.all(parts.map(({ lse }) => lse.read())),
});

describeOnBackends('mergeStates', (runtime) => {
  test('weighs the parts of a hand example by their sums of exponentials', async () => {
    await scoped(runtime(), async () => {
      const part = (out: number[], lse: number[]) => ({
        out: runtime().tensor(out, [2, 2]),
        lse: runtime().tensor(lse, [2]),
      });
      const log = Math.log;
      const parts = [part([4, 8, 1, 1], [log(1), -Infinity]), part([0, 4, Number.NaN, 9], [log(3), -Infinity])];
      const { out, lse } = mergeStates(parts);
      expectClose(await out.read(), [1, 5, 0, 0], 1e-6);
      expectClose(await lse.read(), [log(4), -Infinity], 1e-6);
    });
  });

  test('joins attention over parts of the keys', async () => {
    await scoped(runtime(), async () => {
      const q = runtime().random([2, 5, 4, 8], { seed: 1 });
      const k = runtime().random([2, 12, 2, 8], { seed: 2 });
      const v = runtime().random([2, 12, 2, 3], { seed: 3 });
      const parts = [
        [0, 7],
        [7, 8],
        [8, 12],
      ].map(([first, past]) => attention(q, k.slice(1, first!, past!), v.slice(1, first!, past!)));
      const [whole, joined] = [attention(q, k, v), mergeStates(parts)];
      expectClose(await joined.out.read(), await whole.out.read(), 1e-5);
      expectClose(await joined.lse.read(), await whole.lse.read(), 1e-5);
    });
  });

  test('agrees with the definition for any number of parts, and writes nothing beside its results', async () => {
    const extent = fc.integer({ min: 1, max: 9 });
    const dtypes = fc.constantFrom('f32' as const, 'f32' as const, 'f16' as const, 'bf16' as const);
    const counts = fc.constantFrom(1, 2, 5, 9);
    const columns = fc.constantFrom(1, 3, 64, 301);
    await fc.assert(
      fc.asyncProperty(counts, extent, extent, columns, dtypes, async (count, n, h, e, dtype) => {
        await scoped(runtime(), async () => {
          const parts = partsOf(runtime(), count, [n, h, e], dtype);
          const { outs, lses } = await valuesOf(parts);
          const expected = merged(outs, lses);
          const [out, lse] = [guarded(runtime(), [n, h, e], dtype), guarded(runtime(), [n, h])];
          const results = mergeStates(parts, { out: out.out, lse: lse.out });
          expect([results.out, results.lse]).toEqual([out.out, lse.out]);
          const step = { f32: 3e-6, f16: 1e-3, bf16: 8e-3 }[dtype];
          const tolerance = expected.out.map((value) => step * (1 + Math.abs(value)));
          expectClose(toFloat64(await out.out.toHost()), expected.out, tolerance);
          expectClose(await lse.out.read(), expected.lse, 1e-5);
          for (const each of [out, lse]) {
            each.out.dispose();
            await each.check();
          }
        });
      }),
      { numRuns: 15 },
    );
  });

  test('takes lses of any size; infinite and NaN ones come out', async () => {
    await scoped(runtime(), async () => {
      const rows = [
        [1000, 1000, 1000 + Math.log(2), 0.5],
        [-1e30, 1e30, 1e30, 0],
        [3e38, 3e38, 3e38, 0.5],
        [-3e38, -Infinity, -3e38, 1],
        [Infinity, 0, Infinity, Number.NaN],
        [Number.NaN, 0, Number.NaN, Number.NaN],
      ] as const;
      const lses = [0, 1].map((at) =>
        runtime().tensor(
          rows.map((row) => row[at]!),
          [rows.length],
        ),
      );
      const outs = [1, 0].map((value) => runtime().tensor(new Float32Array(rows.length).fill(value), [rows.length, 1]));
      const { out, lse } = mergeStates(lses.map((lse, at) => ({ lse, out: outs[at]! })));
      expectClose(
        await lse.read(),
        rows.map((row) => Math.fround(row[2])),
        1e-4,
      );
      expectClose(
        await out.read(),
        rows.map((row) => row[3]),
        1e-6,
      );
    });
  });

  test('its gradients agree with differences, and are 0 for parts that saw no key', async () => {
    for (const [count, shape] of [
      [2, [4, 3]],
      [4, [5, 6]],
      [3, [2, 40]],
    ] as const) {
      for (const [ofOut, ofLse] of [
        [true, true],
        [true, false],
        [false, true],
      ]) {
        await scoped(runtime(), async () => {
          const parts = partsOf(runtime(), count, shape).map(({ out, lse }, at) => ({
            out,
            lse: at === 0 ? lse : runtime().random(lse.shape, { seed: 50 + at }),
          }));
          const { outs, lses } = await valuesOf(parts);
          const gradOut = ofOut ? runtime().random(shape, { seed: 90 }) : undefined;
          const gradLse = ofLse ? runtime().random(shape.slice(0, -1), { seed: 91 }) : undefined;
          const results = mergeStates(parts);
          const gradients = mergeStatesBackward(parts, { ...results, gradOut, gradLse });
          const size = shape[0] * shape[1];
          const weights = [
            ...((await gradOut?.read()) ?? new Float32Array(size)),
            ...((await gradLse?.read()) ?? new Float32Array(shape[0])),
          ];
          const moved = (outs: readonly ArrayLike<number>[], lses: readonly ArrayLike<number>[]) => {
            const { out, lse } = merged(outs, lses);
            // A row of no keys has no differences.
            return [...out, ...lse].map((value) => (value === -Infinity ? 0 : value));
          };
          for (const [at, gradient] of gradients.entries()) {
            const withOut = (x: Float64Array) => moved(replaced(outs, at, x), lses);
            const withLse = (x: Float64Array) => moved(outs, replaced<ArrayLike<number>>(lses, at, x));
            expectClose(await gradient.out.read(), numericGradient(withOut, outs[at]!, weights, 1e-5), 1e-5);
            const ofLses = [...numericGradient(withLse, lses[at]!, weights, 1e-5)];
            expectClose(
              await gradient.lse.read(),
              ofLses.map((value) => value || 0),
              1e-5,
            );
          }
        });
      }
    }
  });

  test('gives gradients of 16-bit parts as f32', async () => {
    await scoped(runtime(), async () => {
      const parts = partsOf(runtime(), 2, [3, 300], 'f16');
      const gradOut = runtime().random([3, 300], { seed: 9 });
      const gradients = mergeStatesBackward(parts, { ...mergeStates(parts), gradOut, gradLse: undefined });
      const wide = parts.map(({ out, lse }) => ({ out, lse }));
      for (const each of wide)
        each.out = runtime().tensor(Float32Array.from(toFloat64(await each.out.toHost())), [3, 300]);
      const expected = mergeStatesBackward(wide, { ...mergeStates(wide), gradOut, gradLse: undefined });
      for (const [at, { out, lse }] of gradients.entries()) {
        expectClose(await out.read(), await expected[at]!.out.read(), 1e-6);
        // The merged out was rounded to 16 bits.
        expectClose(await lse.read(), await expected[at]!.lse.read(), 2e-2);
      }
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using other = await createRuntime({ backend: 'reference' });
    const foreign = { out: other.empty([2, 3]), lse: other.empty([2]) };
    await scoped(runtime(), async () => {
      const [out, lse] = [runtime().random([2, 3]), runtime().random([2])];
      const [turned, half, none] = [
        runtime().random([3, 2]).permute([1, 0]),
        runtime().empty([2, 3], 'f16'),
        runtime().empty([0, 3]),
      ];
      const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
      const list = 'parts must be an array of at least one { out, lse }, got';
      const part = { out, lse };
      const whole = runtime().empty([2, 3], 'i32') as never;
      await refuse(() => mergeStates([]), `${list} []`);
      await refuse(() => mergeStates(part as never), `${list} an object`);
      await refuse(() => mergeStates([part, 3 as never]), list);
      await refuse(() => mergeStates([{ out } as never]), 'parts[0].lse must be a Tensor, got undefined');
      await refuse(() => mergeStates([part, foreign]), 'parts[1].out lives on another runtime than parts[0].out');
      await refuse(() => mergeStates([part, { out: turned, lse }]), 'parts[1].out [2, 3] must be contiguous');
      await refuse(() => mergeStates([part, { out: half as never, lse }]), 'parts[1].out must be f32, got f16');
      await refuse(
        () => mergeStates([part, { out, lse: half as never }]),
        'parts[1].lse must have shape [2] as parts[0].out [2, 3], got [2, 3]',
      );
      await refuse(
        () => mergeStates([{ out: lse, lse }]),
        'parts[0].lse must have shape [] as parts[0].out [2], got [2]',
      );
      await refuse(() => mergeStates([{ out: none, lse }]), 'parts[0].out [0, 3] is empty');
      await refuse(() => mergeStates([{ out: whole, lse }]), 'parts[0].out must be f32, f16, bf16, got i32');
      await refuse(() => mergeStates([part], { out }), 'out shares memory with parts[0].out');
      await refuse(() => mergeStates([part], { lse: out }), 'lse must have shape [2], got [2, 3]');
    });
  });
});

test.skipIf('document' in globalThis)('has the same bits on any number of threads', async () => {
  const bits: string[] = [];
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    const { out, lse } = mergeStates(partsOf(runtime, 3, [500, 3, 20]));
    bits.push([out, lse].map(String).join() + (await out.read()).join() + (await lse.read()).join());
  }
  expect(new Set(bits).size).toBe(1);
});
