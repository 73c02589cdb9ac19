import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeWithMachineCode, fewOnGpu, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectGradients, type GradientCase } from '../../../test/tape-gradients';
import { cast, contiguous, createRuntime, elementwise, matmul, type Tensor } from '../../index';
import { toFloat64 } from '../../tensor/host';

const extent = fc.integer({ min: 1, max: 70 });

/** With and without a b that serves all, rows that are one matrix, and factors that repeat. */
const GRADIENTS = (
  [
    [[2, 1, 3, 4], [3, 5, 4], { transposeB: true }],
    [[3, 4], [4, 5], {}],
    [[2, 4, 3], [4, 5], { transposeA: true }],
    [[3, 4], [2, 4, 2], {}],
    [[2, 3, 4], [4, 5], { epilogue: elementwise((x, { gelu }) => gelu(x)) }],
  ] as const
).map(([a, b, options]) => {
  const bias = [b.at('transposeB' in options ? -2 : -1) as number];
  const fn: GradientCase['fn'] = ({ a, b, bias }) => matmul(a!, b!, { ...options, bias });
  return [a, b, options, { fn, inputs: { a, b, bias } }] as const;
});

describeWithMachineCode('matmul', (runtime) => {
  test('multiplies the matrices of a hand example', async () => {
    using a = runtime().tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    using b = runtime().tensor([7, 8, 9, 10, 11, 12], [3, 2]);
    using bias = runtime().tensor([1000, 2000], [2]);
    using out = matmul(a, b, { bias });
    expect(out.shape).toEqual([2, 2]);
    expect([...(await out.read())]).toEqual([1058, 2064, 1139, 2154]);
  });

  test('agrees with the definition on odd shapes, transposed views and cut columns', async () => {
    const layout = fc.constantFrom('row-major', 'transposed', 'cut');
    await fc.assert(
      fc.asyncProperty(extent, extent, extent, layout, layout, async (r, k, c, layoutA, layoutB) => {
        using a = laidOut(layoutA, [r, k], 1);
        using b = laidOut(layoutB, [k, c], 2);
        const { out, check } = guarded(runtime(), [r, c]);
        await expectProduct(matmul(a, b, { out }), { a, b });
        out.dispose();
        await check();
      }),
      randomCases(40),
    );
  });

  test('takes inner extents longer than a block, and single rows and columns', async () => {
    for (const [r, k, c] of [
      [1, 1, 1],
      [1, 1000, 1],
      [7, 515, 9],
      [1, 3, 257],
      [129, 2, 1],
      [3, 130, 2051],
      [5, 70, 515],
      [16, 67, 30],
    ] as const) {
      for (const layout of ['row-major', 'transposed']) {
        using a = laidOut(layout, [r, k], 3);
        using b = laidOut(layout, [k, c], 4);
        using out = matmul(a, b);
        await expectProduct(out, { a, b });
      }
    }
  });

  test('broadcasts leading axes, swaps the last two, adds a bias, takes every float', async () => {
    const leading = fc.tuple(fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }), fc.nat(7), fc.nat(3));
    const few = fc.integer({ min: 1, max: 20 });
    const choices = fc.array(fc.boolean(), { minLength: 4, maxLength: 4 });
    const floats = fc.constantFrom('f32' as const, 'f16' as const, 'bf16' as const);
    await fc.assert(
      fc.asyncProperty(
        leading,
        few,
        few,
        few,
        choices,
        floats,
        async ([lead, thin, missing], r, k, c, chosen, dtype) => {
          const { live } = runtime().memory();
          await scoped(runtime(), async () => {
            const [transposeA, transposeB, isBiased, isTurned] = chosen as [boolean, boolean, boolean, boolean];
            const thinned = lead.map((extent, axis) => ((thin >> axis) & 1 ? 1 : extent)).slice(missing);
            const [leadA, leadB] = isTurned ? [thinned, lead] : [lead, thinned];
            const a = runtime().random([...leadA, ...(transposeA ? [k, r] : [r, k])], { seed: 7, dtype });
            const b = runtime().random([...leadB, ...(transposeB ? [c, k] : [k, c])], { seed: 8, dtype });
            const bias = isBiased ? runtime().random([c], { seed: 9, dtype }) : undefined;
            const { out, check } = guarded(runtime(), [...lead, r, c]);
            await expectProduct(matmul(a, b, { transposeA, transposeB, bias, out }), { a, b, bias }, chosen);
            out.dispose();
            await check();
          });
          expect(runtime().memory().live).toBe(live);
        },
      ),
      randomCases(60),
    );
  });

  test.each(fewOnGpu(['bf16', 'f16'] as const, 1))('multiplies few rows by weights in %s', async (dtype) => {
    await scoped(runtime(), async () => {
      for (const rows of [1, 2, 7]) {
        for (const transposeB of [false, true]) {
          const a = runtime().random([rows, 133], { seed: 7, dtype });
          const b = runtime().random(transposeB ? [50, 133] : [133, 50], { seed: 8, dtype });
          const bias = runtime().random([50], { seed: 9, dtype });
          await expectProduct(matmul(a, b, { transposeB, bias }), { a, b, bias }, [false, transposeB, true, false]);
        }
      }
    });
  });

  test('keeps infinities and NaN of 16-bit weights in their columns, and scales no large row out of range', async () => {
    for (const dtype of ['f16', 'bf16'] as const) {
      for (const rows of [1, 2]) {
        await scoped(runtime(), async () => {
          const weights = Float32Array.from({ length: 16 * 20 }, (_, at) => ((at * 7) % 11) / 4 - 1);
          weights[3 * 20 + 5] = Number.POSITIVE_INFINITY;
          weights[4 * 20 + 18] = Number.NaN;
          const a = Float32Array.from({ length: rows * 16 }, (_, at) => (at === 2 ? 2 ** 20 : 1 + (at % 3)));
          const b = cast(runtime().tensor(weights, [16, 20]), dtype);
          const expected = Float32Array.from({ length: rows * 20 }, (_, at) => {
            const terms = Array.from(
              { length: 16 },
              (_, k) => a[Math.floor(at / 20) * 16 + k]! * weights[k * 20 + (at % 20)]!,
            );
            return terms.reduce((sum, term) => sum + term, 0);
          });
          const left = runtime().tensor(a, [rows, 16]);
          const transposed = contiguous(b.permute([1, 0]));
          for (const out of [matmul(left, b), matmul(left, transposed, { transposeB: true })])
            expect([...(await out.read())]).toEqual([...expected]);
        });
      }
    }
  });

  test('applies a function of each element, with what it captured', async () => {
    const slope = 0.125;
    const fn = (x: number, { slope }: { slope: number }) => Math.max(x, slope * x) + 2 - (x + 1) * Math.exp(-x * x);
    const epilogue = elementwise(fn, { slope });
    await scoped(runtime(), async () => {
      // The second in parts on a GPU, the third transposed there.
      for (const [r, k, c] of [
        [50, 300, 70],
        [2, 3000, 7],
        [60, 3, 5],
        // More than a block of the program's registers at once.
        [27, 9, 515],
      ] as const) {
        const a = runtime().random([r, k], { seed: 1 });
        const b = runtime().random([k, c], { seed: 2 });
        const bias = runtime().random([c], { seed: 3 });
        const { out, check } = guarded(runtime(), [r, c]);
        const plain = await matmul(a, b, { bias }).read();
        const expected = plain.map((x) => fn(x, { slope }));
        const tolerance = expected.map((x) => 1e-6 * (1 + Math.abs(x)));
        expectClose(await matmul(a, b, { bias, epilogue, out }).read(), expected, tolerance);
        out.dispose();
        await check();
      }
    });
  });

  test('takes leading axes that lie anyhow', async () => {
    await scoped(runtime(), async () => {
      const b = runtime().random([5, 6], { seed: 6 });
      for (const a of [
        runtime().random([2, 3, 4, 5], { seed: 5 }),
        runtime().random([3, 2, 4, 5], { seed: 5 }).permute([1, 0, 2, 3]),
        runtime().random([4, 5], { seed: 5 }).expand([2, 3, 4, 5]),
        runtime().random([2, 3, 9, 5], { seed: 5 }).slice(2, 3, 7),
      ]) {
        const out = matmul(a, b);
        expect(out.shape).toEqual([2, 3, 4, 6]);
        await expectProduct(out, { a, b });
      }
    });
  });

  test.each(fewOnGpu(GRADIENTS, 2))('has the gradients of a %j and b %j with %j', async (_a, _b, _options, example) => {
    await expectGradients(runtime(), example);
  });

  test('keeps NaN, infinity and the smallest numbers where they belong', async () => {
    using a = runtime().tensor([1, 0, 0, 1], [2, 2]);
    using b = runtime().tensor([Number.NaN, 1, 2, Number.POSITIVE_INFINITY], [2, 2]);
    using out = matmul(a, b);
    expect([...(await out.read())]).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.POSITIVE_INFINITY]);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using a = runtime().random([2, 3, 4]);
    using b = runtime().random([4, 5]);
    using three = runtime().random([3, 4, 5]);
    using halves = runtime().random([5], { dtype: 'f16' });
    using whole = runtime().tensor([1, 2, 3, 4], [4, 1], 'i32');
    using vector = runtime().random([4]);
    using turned = b.permute([1, 0]);
    using empty = runtime().empty([0, 4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => matmul(vector, b), 'a must have shape [..., r, k], got [4]');
    await refuse(() => matmul(a, vector), 'b must have shape [..., k, c], got [4]');
    await refuse(() => matmul(a, a), 'b must have shape [..., k, c] with k = 4 as in a [2, 3, 4], got [2, 3, 4]');
    await refuse(
      () => matmul(a, b, { transposeA: true, transposeB: true }),
      'b must have shape [..., c, k] with k = 3 as in a [2, 3, 4], got [4, 5]',
    );
    await refuse(
      () => matmul(a, three),
      'b must have leading axes that broadcast with those of a [2, 3, 4], got [3, 4, 5]',
    );
    await refuse(() => matmul(a, b, { bias: halves }), 'bias must be f32 as a is, got f16');
    await refuse(() => matmul(whole, b), 'a must be f32, f16, bf16, got i32');
    await refuse(() => matmul(a, b, { bias: vector }), 'bias must have shape [c] with c = 5 as in b [4, 5], got [4]');
    await refuse(() => matmul(a, b, { transposeA: 1 } as object), 'transposeA must be true or false, got 1');
    await refuse(
      () => matmul(a, b, { epilogue: Math.exp } as object),
      'epilogue must be made by elementwise(), got a function',
    );
    await refuse(() => matmul(empty, b), 'a [0, 4] is empty');
    await refuse(() => matmul(a, b, { out: b }), 'out must have shape [2, 3, 5], got [4, 5]');
    await refuse(() => matmul(b, turned, { out: b }), 'out must have shape [4, 4], got [4, 5]');
    await refuse(() => matmul(a, b, { transposed: true } as object), "matmul has no option 'transposed'");
    await refuse(() => matmul([[1]] as unknown as Tensor, b), 'a must be a Tensor, got an array of 1');
    await refuse(() => matmul(a, b, { signal: AbortSignal.abort(new Error('stopped')) }), 'stopped');
  });

  test('refuses tensors that are disposed or live elsewhere', async () => {
    using other = await createRuntime({ backend: 'reference' });
    using a = runtime().random([2, 3]);
    const b = runtime().random([3, 2]);
    const foreign = other.random([3, 2]);
    await expectRefusal(runtime(), () => matmul(a, foreign), 'b lives on another runtime than a');
    b.dispose();
    await expectRefusal(runtime(), () => matmul(a, b), 'b: the tensor of shape [3, 2] was disposed');
  });

  /** Random numbers of `shape`, lying in memory as `layout` says. */
  function laidOut(layout: string, [rows, columns]: readonly [number, number], seed: number): Tensor<'f32'> {
    if (layout === 'row-major') return runtime().random([rows, columns], { seed });
    using whole = runtime().random(layout === 'cut' ? [rows, columns + 5] : [columns, rows], { seed });
    return layout === 'cut' ? whole.slice(1, 3, 3 + columns) : whole.permute([1, 0]);
  }
});

interface Values {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

interface Factors<T> {
  readonly a: T;
  readonly b: T;
  readonly bias?: T | undefined;
}

async function expectProduct(
  out: Tensor,
  factors: Factors<Tensor>,
  [transposeA = false, transposeB = false]: readonly boolean[] = [],
): Promise<void> {
  const found: Record<string, Values> = {};
  for (const [name, x] of Object.entries(factors)) {
    if (x) found[name] = { shape: x.shape, data: toFloat64(await x.toHost()) };
  }
  const { values, magnitudes } = definition(found as unknown as Factors<Values>, transposeA, transposeB);
  expectClose(
    await out.read(),
    values,
    magnitudes.map((each) => 1e-6 * each),
  );
}

/** The sums, and those of the magnitudes of their terms, one element at a time. */
function definition({ a, b, bias }: Factors<Values>, transposeA: boolean, transposeB: boolean) {
  const [rows, inner] = transposeA ? a.shape.slice(-2).reverse() : a.shape.slice(-2);
  const columns = b.shape.at(transposeB ? -2 : -1) as number;
  const [leadA, leadB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const rank = Math.max(leadA.length, leadB.length);
  const [fullA, fullB] = [leadA, leadB].map((lead) => [...Array<number>(rank - lead.length).fill(1), ...lead]);
  const lead = fullA!.map((extent, axis) => Math.max(extent, fullB![axis]!));
  const matrices = lead.reduce((count, extent) => count * extent, 1);
  /** Which matrix of a factor serves this one of the result. */
  const place = (full: readonly number[], matrix: number) => {
    let [at, step, rest] = [0, 1, matrix];
    for (let axis = rank - 1; axis >= 0; axis--) {
      at += ((rest % lead[axis]!) % full[axis]!) * step;
      step *= full[axis]!;
      rest = Math.floor(rest / lead[axis]!);
    }
    return at;
  };
  const values = new Float64Array(matrices * rows! * columns);
  const magnitudes = new Float64Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const [matrix, r, c] = [Math.floor(at / columns / rows!), Math.floor(at / columns) % rows!, at % columns];
    const [inA, inB] = [place(fullA!, matrix) * rows! * inner!, place(fullB!, matrix) * inner! * columns];
    const terms = bias ? [bias.data[c]!] : [];
    for (let i = 0; i < inner!; i++) {
      const left = a.data[inA + (transposeA ? i * rows! + r : r * inner! + i)]!;
      terms.push(left * b.data[inB + (transposeB ? c * inner! + i : i * columns + c)]!);
    }
    values[at] = terms.reduce((sum, term) => sum + term, 0);
    magnitudes[at] = terms.reduce((sum, term) => sum + Math.abs(term), 0);
  }
  return { values, magnitudes };
}
