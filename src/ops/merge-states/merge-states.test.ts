import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectGradients, type GradientCase } from '../../../test/tape-gradients';
import {
  type AttentionState,
  attention,
  createRuntime,
  mergeStates,
  pullback,
  type Runtime,
  type Tensor,
} from '../../index';
import { toFloat64 } from '../../tensor/host';

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

const mergedTwo = ({ a, b, c, d }: Record<string, Tensor>) =>
  mergeStates([
    { out: a as Tensor<'f32'>, lse: c as Tensor<'f32'> },
    { out: b as Tensor<'f32'>, lse: d as Tensor<'f32'> },
  ]);
const TWO = { a: [4, 3], b: [4, 3], c: [4], d: [4] };
const GRADIENTS: Readonly<Record<string, GradientCase>> = {
  'of both': { fn: (inputs) => ({ ...mergedTwo(inputs) }), inputs: TWO },
  'of out alone': { fn: (inputs) => mergedTwo(inputs).out, inputs: { ...TWO, a: [4, 40], b: [4, 40] } },
  'of lse alone': { fn: (inputs) => mergedTwo(inputs).lse, inputs: TWO },
};

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
    const counts = fc.constantFrom(1, 2, 5, 128);
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
      randomCases(15),
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

  test.each(Object.keys(GRADIENTS))('its gradients agree with differences: %s', async (name) => {
    await expectGradients(runtime(), GRADIENTS[name]!);
  });

  test('parts that saw no key have no gradient; those of 16 bits have one too', async () => {
    await scoped(runtime(), async () => {
      const parts = partsOf(runtime(), 2, [4, 301], 'f16');
      const ones = runtime().tensor(new Float32Array(4 * 301).fill(1), [4, 301]);
      const { pull } = pullback((tracked) => mergeStates(tracked).out, parts);
      const gradients = pull(ones) as readonly AttentionState[];
      const { outs, lses } = await valuesOf(parts);
      const total = merged(outs, lses);
      for (const [at, { out, lse }] of gradients.entries()) {
        const shares = [...lses[at]!].map((each, row) => (each === -Infinity ? 0 : Math.exp(each - total.lse[row]!)));
        const sums = shares.map((share, row) => {
          const differences = outs[at]!.map((value, i) => value - total.out[i]!).subarray(row * 301, (row + 1) * 301);
          return share === 0 ? 0 : share * differences.reduce((sum, value) => sum + value, 0);
        });
        const expected = shares.flatMap((share) => new Array<number>(301).fill(share));
        expectClose(toFloat64(await out.toHost()), expected, 1e-3);
        // What was merged has been rounded to 16 bits.
        expectClose(await lse.read(), sums, 0.1);
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
      const list = 'parts must be an array of 1 to 128 { out, lse }, got';
      const part = { out, lse };
      const whole = runtime().empty([2, 3], 'i32') as never;
      await refuse(() => mergeStates([]), `${list} []`);
      await refuse(() => mergeStates(new Array(129).fill(part)), `${list} an array of 129`);
      await refuse(() => mergeStates(part as never), `${list} an object`);
      await refuse(() => mergeStates([part, 3 as never]), list);
      await refuse(() => mergeStates([{ out } as never]), 'parts[0].lse must be a Tensor, got undefined');
      await refuse(() => mergeStates([part, foreign]), 'parts[1].out lives on another runtime than parts[0].out');
      await refuse(() => mergeStates([part, { out: turned, lse }]), 'parts[1].out [2, 3] must be contiguous');
      await refuse(
        () => mergeStates([part, { out: half as never, lse }]),
        'parts[1].out must be f32 as parts[0].out is, got f16',
      );
      await refuse(() => mergeStates([part, { out, lse: half as never }]), 'parts[1].lse must be f32, got f16');
      await refuse(
        () => mergeStates([{ out: lse, lse }]),
        'parts[0].lse must have shape [] with the leading axes of parts[0].out [2], got [2]',
      );
      await refuse(() => mergeStates([{ out: none, lse: runtime().empty([0]) }]), 'parts[0].out [0, 3] is empty');
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
