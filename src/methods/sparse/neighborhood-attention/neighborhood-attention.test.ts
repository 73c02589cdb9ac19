import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod } from '../../../../test/describe-method';
import { expectClose } from '../../../../test/expect';
import { gridAxes, gridCases, paramsOf } from '../../../../test/grids';
import { ParameterError } from '../../../errors';
import { band, full } from '../../../masks/band';
import { oneHead } from '../../../masks/mask';
import { softmaxAttention } from '../../../ops/attention/softmax';
import { createRuntime } from '../../../ops/create-runtime';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { bindShapes, sizeOf } from '../../../tensor/shape';
import { problemOfLetters } from '../../define';
import { describeParams } from '../../params';
import { neighborhoodAttention } from '.';

describeMethod(neighborhoodAttention, gridCases('window', 'dilation', 'causal'));

const lettersOf = (grid: readonly number[]) =>
  ({
    ...bindShapes(neighborhoodAttention.inputs, {
      q: [1, ...grid, 1, 1],
      k: [1, ...grid, 1, 1],
      v: [1, ...grid, 1, 1],
    }),
  }) as Parameters<typeof neighborhoodAttention.variants>[0];
const maskOf = (grid: readonly number[], params: object) =>
  neighborhoodAttention.mask!(neighborhoodAttention.parse(params as never), problemOfLetters(lettersOf(grid)));

/** For each query the keys that get a weight in the reference: values are one-hot rows, one for each key. */
function keysSeen(grid: readonly number[], params: object): number[][] {
  const n = sizeOf(grid);
  const zeros = hostTensor(new Float64Array(n), [1, ...grid, 1, 1]);
  const oneHot = Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
  const v = hostTensor(oneHot, [1, ...grid, 1, n]);
  const { out } = neighborhoodAttention.reference(
    { q: zeros, k: zeros, v },
    neighborhoodAttention.parse(params as never),
  );
  const weights = out!.data as Float64Array;
  return Array.from({ length: n }, (_, i) => range(0, n).filter((j) => weights[i * n + j]! > 0));
}

const range = (first: number, past: number) => Array.from({ length: past - first }, (_, at) => first + at);

/** The mask says the same as the reference. */
function expectKeys(grid: readonly number[], params: object, expected: (seen: number[][]) => void): void {
  const n = sizeOf(grid);
  const mask = maskOf(grid, params);
  expected(keysSeen(grid, params));
  expected(range(0, n).map((i) => range(0, n).filter((j) => mask.sees(i, j, oneHead(n, n)))));
}

describe('by hand', () => {
  test('seven tokens, window 3', () => {
    expectKeys([7], { window: 3 }, (seen) => {
      expect(seen.map((keys) => [keys[0], keys.at(-1)].join('-'))).toEqual([
        '0-2',
        '0-2',
        '1-3',
        '2-4',
        '3-5',
        '4-6',
        '4-6',
      ]);
      // How many queries see each key: attention is not symmetric.
      expect(range(0, 7).map((key) => seen.filter((keys) => keys.includes(key)).length)).toEqual([2, 3, 4, 3, 4, 3, 2]);
    });
  });

  test('an even window has one more key before the query', () => {
    expectKeys([8], { window: 4 }, (seen) => {
      expect(seen[3]).toEqual([1, 2, 3, 4]);
      for (const query of [0, 1, 2]) expect(seen[query]).toEqual([0, 1, 2, 3]);
      for (const query of [6, 7]) expect(seen[query]).toEqual([4, 5, 6, 7]);
    });
  });

  test('dilation 2', () => {
    expectKeys([8], { window: 3, dilation: 2 }, (seen) => {
      expect(seen[5]).toEqual([3, 5, 7]);
      expect(seen[0]).toEqual([0, 2, 4]);
    });
  });

  test('two axes: a box', () => {
    expectKeys([4, 5], { window: [2, 3] }, (seen) => {
      // Row 1, column 2: rows 0 and 1, columns 1 to 3.
      expect(seen[7]).toEqual([1, 2, 3, 6, 7, 8]);
      // The last token: rows 2 and 3, columns 2 to 4.
      expect(seen[19]).toEqual([12, 13, 14, 17, 18, 19]);
    });
  });

  test('a causal axis sees less at its beginning, the other none the less', () => {
    expectKeys([3, 3], { window: [2, 3], causal: [true, false] }, (seen) => {
      expect(seen[1]).toEqual([0, 1, 2]);
      expect(seen[4]).toEqual([0, 1, 2, 3, 4, 5]);
      expect(seen[7]).toEqual([3, 4, 5, 6, 7, 8]);
    });
  });
});

describe('properties', () => {
  test('without causal axes every query sees the product of the window', () => {
    fc.assert(
      fc.property(gridAxes, (axes) => {
        const params = paramsOf(axes, 'window', 'dilation');
        const keys = sizeOf(params.window as number[]);
        expectKeys(
          axes.map(({ length }) => length),
          params,
          (seen) => expect(new Set(seen.map((each) => each.length))).toEqual(new Set([keys])),
        );
      }),
      { numRuns: 20 },
    );
  });

  test('a window of the whole grid is exact attention; causal on one axis, exact causal attention', () => {
    expect(maskOf([4, 5], { window: [4, 5] })).toBe(full());
    expectKeys([4, 5], { window: [4, 5] }, (seen) => {
      for (const keys of seen) expect(keys).toEqual(range(0, 20));
    });
    expectKeys([9], { window: 9, causal: true }, (seen) => {
      seen.forEach((keys, query) => {
        expect(keys).toEqual(range(0, query + 1));
      });
    });
  });

  test('causal on one axis is a causal sliding window', () => {
    const [mask, sliding] = [maskOf([20], { window: 5, causal: true }), band(4, 0)];
    for (const i of range(0, 20))
      expect(mask.intervals?.(i, oneHead(20, 20))).toEqual(sliding.intervals?.(i, oneHead(20, 20)));
  });

  test('a window as long as an axis sees all of that axis', () => {
    expectKeys([4, 5], { window: [4, 3] }, (seen) =>
      expect(seen[0]).toEqual([0, 1, 2, 5, 6, 7, 10, 11, 12, 15, 16, 17]),
    );
  });

  test('dilation is neighborhood attention on each grid of every d-th token', () => {
    const sparse = keysSeen([11, 9], { window: [3, 2], dilation: [2, 3] });
    for (const [gx, gy] of [
      [0, 0],
      [1, 2],
    ] as const) {
      const token = (x: number, y: number) => (x * 2 + gx) * 9 + y * 3 + gy;
      const [rows, columns] = [gx === 0 ? 6 : 5, 3];
      const dense = keysSeen([rows, columns], { window: [3, 2] });
      for (const x of range(0, rows)) {
        for (const y of range(0, columns)) {
          const expected = dense[x * columns + y]!.map((key) => token(Math.floor(key / columns), key % columns));
          expect(sparse[token(x, y)]).toEqual(expected);
        }
      }
    }
  });
});

describe('on the runtime', () => {
  test('constant values come out as they are, whatever the tiles', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
    const shape = [1, 7, 11, 2, 8];
    const [q, k] = [1, 2].map((seed) => runtime.tensor(normal(sizeOf(shape), seed), shape));
    const v = runtime.tensor(new Float32Array(sizeOf(shape)).fill(0.75), shape);
    const { out } = neighborhoodAttention.forward(
      { q: q!, k: k!, v },
      neighborhoodAttention.parse({ window: [3, 4], dilation: [2, 1] }),
    );
    expectClose((await out!.toHost()).data as Float32Array, new Float32Array(sizeOf(shape)).fill(0.75), 1e-6);
  });

  test('parts of the window merge by lse to the whole', () => {
    const [n, d] = [12, 3];
    const random = (seed: number) => hostTensor(normal(n * d, seed), [1, n, 1, d], 'f32');
    const qkv = { q: random(1), k: random(2), v: random(3) };
    const seen = keysSeen([n], { window: 5 });
    const part = (keep: (at: number) => boolean) => softmaxAttention(qkv, 1, (i, j) => keep(seen[i]!.indexOf(j)));
    const [whole, left, right] = [part((at) => at >= 0), part((at) => at === 0 || at === 1), part((at) => at > 1)];
    const merged = Array.from(whole.out.data, (_, at) => {
      const row = Math.floor(at / d);
      const share = 1 / (1 + Math.exp(right.lse.data[row]! - left.lse.data[row]!));
      return share * left.out.data[at]! + (1 - share) * right.out.data[at]!;
    });
    expectClose(merged, whole.out.data, 1e-14);
  });
});

describe('cost', () => {
  test('is that of as many keys as the window has, for every query', () => {
    const letters = { ...lettersOf([6, 7]), b: 2, h: 4, g: 2, d: 3, e: 5 };
    const cost = neighborhoodAttention.cost(letters, neighborhoodAttention.parse({ window: [3, 4] }));
    expect(cost.flops).toBe(2 * (3 + 5) * 2 * 4 * 42 * 12);
    expect(cost.visited).toBe(12 / 42);
  });
});

describe('variants', () => {
  test('are windows that fit the grid', () => {
    expect(neighborhoodAttention.variants(lettersOf([16, 24]))).toEqual([
      { window: [4, 6] },
      { window: [2, 3] },
      { window: [8, 12] },
    ]);
    expect(neighborhoodAttention.variants(lettersOf([3]))).toEqual([{ window: [2] }]);
    for (const { window } of neighborhoodAttention.variants(lettersOf([5, 9, 30]))) maskOf([5, 9, 30], { window });
  });

  test('are none without a grid', () => {
    const sequence = { b: 1, n: 64, m: 64, h: 1, g: 1, d: 1, e: 1 } as unknown as ReturnType<typeof lettersOf>;
    expect(neighborhoodAttention.variants(sequence)).toEqual([]);
  });
});

describe('params', () => {
  test('are one value for all axes, or one for each', () => {
    const names = [5, [5], [5, 5]].map((window) => maskOf([9, 11], { window, causal: [true] }).name);
    expect(new Set(names).size).toBe(1);
    expect(describeParams(neighborhoodAttention.params).map(({ name, type }) => [name, type])).toEqual([
      ['window', 'integer >= 2 or list of 1 to 3 (integer >= 2)'],
      ['dilation', 'integer >= 1 or list of 1 to 3 (integer >= 1)'],
      ['causal', 'true or false or list of 1 to 3 (true or false)'],
      ['scale', 'finite float32 number'],
    ]);
  });

  test.each([
    [
      {},
      'param window of neighborhood-attention: expected integer >= 2 or list of 1 to 3 (integer >= 2), got undefined',
    ],
    [{ window: 1 }, 'param window of neighborhood-attention: expected integer >= 2'],
    [{ window: 2.5 }, 'got 2.5'],
    [{ window: [3, 1.5] }, 'got [3, 1.5]'],
    [{ window: [] }, 'got []'],
    [{ window: [3, 3, 3, 3] }, 'got [3, 3, 3, 3]'],
    [{ window: '7x7' }, 'got "7x7"'],
    [{ window: Number.NaN }, 'got NaN'],
    [{ window: 3, dilation: 0 }, 'param dilation of neighborhood-attention: expected integer >= 1'],
    [{ window: 3, causal: 'first' }, 'param causal of neighborhood-attention: expected true or false'],
    [
      { window: 3, stride: 2 },
      "neighborhood-attention has no param 'stride': expected window, dilation, causal, scale",
    ],
  ])('%j is refused by name', (params, message) => {
    expect(() => neighborhoodAttention.parse(params as never)).toThrow(message);
    expect(() => neighborhoodAttention.parse(params as never)).toThrow(ParameterError);
  });

  test.each([
    [{ window: [3, 12] }, 'window on axis 1 must be an integer from 2 to 11, the length of the grid, got 12'],
    [{ window: 10 }, 'window on axis 0 must be an integer from 2 to 9, the length of the grid, got 10'],
    [{ window: [3, 3, 3] }, 'window must be one value or one for each of the 2 axes, got 3'],
    [{ window: 3, dilation: [1, 2, 1] }, 'dilation must be one value or one for each of the 2 axes, got 3'],
    [{ window: 3, causal: [true, true, true] }, 'causal must be one value or one for each of the 2 axes, got 3'],
    [
      { window: 3, dilation: [1, 4] },
      'dilation on axis 1 must be an integer from 1 to 3, since a window of 3 must fit into 11, got 4',
    ],
  ])('%j does not fit a grid of 9 by 11', (params, message) => {
    expect(() => maskOf([9, 11], params)).toThrow(message);
    expect(() => maskOf([9, 11], params)).toThrow(ParameterError);
  });

  test('heads that come before the grid, as older kernels have them, do not pass for tokens unnoticed', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const tensor = () => runtime.tensor(new Float32Array(2 * 9 * 11 * 4), [2, 9, 11, 4]);
    const inputs = { q: tensor(), k: tensor(), v: tensor() };
    const settings = neighborhoodAttention.parse({ window: [3, 3] });
    expect(() => neighborhoodAttention.forward(inputs, settings)).toThrow(
      'window must be one value for the one axis, got 2',
    );
  });
});
