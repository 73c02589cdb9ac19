import { describe, expect, test } from 'vitest';
import { scoped } from '../../../test/scoped';
import { createRuntime, map, type Runtime, type Tensor } from '../..';
import { openNative } from '../../runtime/native/open';

const special = [
  0,
  1e-45,
  1e-40,
  1.2e-38,
  1e-20,
  1e-8,
  0.3,
  0.5,
  1,
  1.5,
  2.5,
  5,
  8.9,
  20,
  50,
  88,
  95,
  103,
  3e9,
  3e38,
  Infinity,
];
const values = [...special.flatMap((x) => [x, -x]), Number.NaN];
type Numbers = readonly number[];

/** More than one task, and a tail. */
const COUNT = 16384 + 77;
const host = (step: number) =>
  Float32Array.from({ length: COUNT }, (_, at) => values[(at * step) % values.length] as number);

function ofWords(name: string, of: (i: Tensor) => Tensor) {
  return [
    name,
    (x: Tensor) => of(map((x) => Math.min(Math.max(x * 7, -2e9), 2e9) | 0, x, { dtype: 'i32' })),
    0,
  ] as const;
}

/** Each with what both of its results may differ by: functions of the interpreter and of code round differently. */
const FUNCTIONS: readonly (readonly [string, (x: Tensor, y: Tensor) => Tensor, number])[] = [
  ['arithmetic', (x, y) => map((x, y) => (x + y) * 0.5 - x / (y + 3), x, y), 0],
  ['min and max', (x, y) => map((x, y) => Math.min(x, y) + 2 * Math.max(x, y), x, y), 0],
  ['zeros', (x, y) => map((x, y) => 1 / Math.max(x, y) + 1 / Math.min(y, x), x, y), 0],
  ['comparisons', (x, y) => map((x, y) => (x < y && !(x === 1) ? x : y <= 2 || x > 5 ? 3 : 4), x, y), 0],
  ['rounding', (x) => map((x) => Math.floor(x) + Math.ceil(x) + 3 * Math.trunc(x) + 5 * Math.round(x), x), 0],
  ['signs', (x) => map((x) => Math.sign(x) - Math.abs(-x), x), 0],
  ['roots', (x) => map((x, { rsqrt }) => Math.sqrt(x) + rsqrt(x), x), 3e-7],
  ['exp', (x) => map((x) => Math.exp(x), x), 3e-7],
  ['expm1', (x) => map((x) => Math.expm1(x), x), 3e-7],
  ['log', (x) => map((x) => Math.log(x), x), 3e-7],
  ['log1p', (x) => map((x) => Math.log1p(x), x), 6e-7],
  ['tanh', (x) => map((x) => Math.tanh(x), x), 4e-7],
  ['sigmoid', (x) => map((x, { sigmoid }) => sigmoid(x), x), 4e-7],
  ['softplus', (x) => map((x, { softplus }) => softplus(x), x), 6e-7],
  ['erf', (x) => map((x, { erf }) => erf(x), x), 6e-7],
  ['gelu', (x) => map((x, { gelu }) => gelu(x), x), 2e-6],
  ['words of numbers', (x) => map((x) => Math.min(Math.max(x, -1e6), 2 ** 31 - 1) | 0, x, { dtype: 'i32' }), 0],
  ofWords('integers', (i) => map((i) => ((i * 3 - 7) ^ (i >> 2)) & ~(i << 3), i)),
  ofWords('shifts', (i) => map((i) => (i >>> 3) + (i << (i & 63)) + (i >> (i & 63)), i)),
  ofWords('whole numbers', (i) => map((i) => Math.max(i, 5) + Math.sign(i) * Math.abs(i) - Math.min(-i, i), i)),
  ofWords('comparisons of integers', (i) => map((i) => (i < 7 && !(i === -3) ? i : i <= 900 ? 2 : 3), i)),
  ofWords('floats of integers', (i) => map((i) => i / 4, i, { dtype: 'f32' })),
];

const native = openNative();

describe.runIf(typeof native !== 'string')('functions as machine code', () => {
  /** What a function gives by code, and by WebAssembly. */
  async function both(
    work: (runtime: Runtime) => Tensor | readonly Tensor[],
  ): Promise<readonly (readonly Numbers[])[]> {
    const found: Numbers[][] = [];
    for (const native of [true, false]) {
      const runtime = await createRuntime({ threads: 2, native });
      const made = await scoped(runtime, async () => {
        const results = [work(runtime)].flat();
        return Promise.all(results.map(async (each) => Array.from(await each.read())));
      });
      await runtime.dispose();
      found.push(made);
    }
    return found;
  }

  test.each(FUNCTIONS)('%s: as the interpreter, of numbers at all ends', async (_, of, tolerance) => {
    const [[code], [wasm]] = (await both((runtime) =>
      of(runtime.tensor(host(1), [COUNT]), runtime.tensor(host(5), [COUNT])),
    )) as [[Numbers], [Numbers]];
    const misfits = wasm.flatMap((wanted, at) => {
      const got = code[at] as number;
      const isClose =
        Object.is(got, wanted) || Math.abs(got - wanted) <= tolerance * Math.abs(wanted) + (tolerance && 1e-43);
      return isClose ? [] : [{ x: host(1)[at], y: host(5)[at], got, wanted }];
    });
    expect(misfits.slice(0, 5)).toEqual([]);
  });

  test('a value that is used twice is computed once, again and again', async () => {
    const [[code], [wasm]] = (await both((runtime) => {
      // Forty sums of a value and itself: as a tree they would be 2^40.
      const lines = Array.from({ length: 40 }, (_, at) => `const y${at + 1} = y${at} * 0.5 + y${at} * 0.5;`).join(' ');
      const fn = new Function('x', `const y0 = x; ${lines} return y40;`) as (x: number) => number;
      return map(fn, runtime.random([5000], { seed: 1 }));
    })) as [[Numbers], [Numbers]];
    expect(code).toEqual(wasm);
  });

  test('rows that are strided, repeated and many, lists, captured tensors and numbers, in place', async () => {
    const cases: ((runtime: Runtime) => Tensor | readonly Tensor[])[] = [
      (runtime) => {
        const [x, bias, rows] = [[3, 5, 7, 67], [67], [3, 1, 7, 1]].map((shape, seed) =>
          runtime.random(shape, { seed }),
        );
        return map((x, bias, rows) => x * rows - bias, x!.permute([1, 0, 2, 3]), bias!, rows!.permute([1, 0, 2, 3]));
      },
      (runtime) => {
        const x = runtime.random([9, 4000], { seed: 1 }).slice(1, 3, 3005);
        return map((x, y, { gain }) => [x + gain * y, y], x, runtime.random([3002], { seed: 2 }), {
          captured: { gain: 0.3 },
        });
      },
      (runtime) => {
        const [a, b] = [runtime.random([40_000], { seed: 1 }), runtime.random([3, 11], { seed: 2 })];
        const [g, h] = [runtime.random([40_000], { seed: 3 }), runtime.random([3, 11], { seed: 4 })];
        map((x, g, { rate }) => x - rate * g, [a, b], [g, h], { captured: { rate: 0.1 }, out: [a, b] });
        return [a, b];
      },
      (runtime) => {
        const [table, words] = [runtime.tensor([1, 2, Number.NaN, 4], [4]), runtime.tensor([7, -8, 9], [3], 'i32')];
        const at = map((x) => Math.min(Math.max(x * 12, -50), 50) | 0, runtime.random([5000], { seed: 1 }), {
          dtype: 'i32',
        });
        const captured = { table, words, shift: 2 };
        return [
          map((i, { table }) => table[i - 4]!, at, { captured, dtype: 'f32' }),
          map((i, { words, shift }) => words[i & 3]! + (i << shift), at, { captured }),
        ];
      },
    ];
    for (const work of cases) {
      const [code, wasm] = await both(work);
      expect(code).toEqual(wasm);
    }
  });
});
