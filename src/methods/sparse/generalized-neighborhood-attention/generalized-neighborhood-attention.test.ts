import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod } from '../../../../test/describe-method';
import { expectClose } from '../../../../test/expect';
import { gridAxes, gridCases, paramsOf } from '../../../../test/grids';
import { ParameterError } from '../../../errors';
import { full } from '../../../masks/band';
import { oneHead } from '../../../masks/mask';
import { createRuntime } from '../../../ops/create-runtime';
import { normal } from '../../../tensor/random';
import { bindShapes, sizeOf } from '../../../tensor/shape';
import { problemOfLetters } from '../../define';
import { neighborhoodAttention } from '../neighborhood-attention';
import { generalizedNeighborhoodAttention as method } from '.';
import { sees as reference } from './reference';

describeMethod(method, gridCases('window', 'stride', 'dilation', 'causal'));

const lettersOf = (grid: readonly number[]) => {
  const shape = [1, ...grid, 1, 1];
  return bindShapes(method.inputs, { q: shape, k: shape, v: shape }) as Parameters<typeof method.variants>[0];
};
const maskOf = (grid: readonly number[], params: object) =>
  method.mask!(method.parse(params as never), problemOfLetters(lettersOf(grid)));
const range = (first: number, past: number) => Array.from({ length: past - first }, (_, at) => first + at);

/** The keys of each query by the reference and by the mask: both must be as expected. */
function expectKeys(grid: readonly number[], params: object, expected: (seen: number[][]) => void): void {
  const n = sizeOf(grid);
  const [mask, sees] = [
    maskOf(grid, params),
    reference(method.parse(params as never), problemOfLetters(lettersOf(grid))),
  ];
  const keys = (is: (i: number, j: number) => boolean) => range(0, n).map((i) => range(0, n).filter((j) => is(i, j)));
  expected(keys((i, j) => sees(i, j, 0, 0)));
  expected(keys((i, j) => mask.sees(i, j, oneHead(n, n))));
}

const spans = (seen: number[][]) => seen.map((keys) => `${keys[0]}-${keys.at(-1)}`);

describe('by hand', () => {
  test('eight tokens, window 4, stride 2: leaders 1, 3, 5 and 7', () => {
    expectKeys([8], { window: 4, stride: 2 }, (seen) => {
      expect(spans(seen)).toEqual(['0-3', '0-3', '1-4', '1-4', '3-6', '3-6', '4-7', '4-7']);
    });
  });

  test('eight tokens, window 4, stride 4: two blocks', () => {
    expectKeys([8], { window: 4, stride: 4 }, (seen) => {
      expect(spans(seen)).toEqual(['0-3', '0-3', '0-3', '0-3', '4-7', '4-7', '4-7', '4-7']);
    });
  });

  test('ten tokens: the window of the short last group is moved in, not cut', () => {
    expectKeys([10], { window: 4, stride: 4 }, (seen) => {
      expect(spans(seen)).toEqual([...Array(4).fill('0-3'), ...Array(4).fill('4-7'), '6-9', '6-9']);
    });
  });

  test('causal: the leader is the last of its group, and the earlier ones see less', () => {
    expectKeys([8], { window: 4, stride: 2, causal: true }, (seen) => {
      expect(spans(seen)).toEqual(['0-0', '0-1', '0-2', '0-3', '2-4', '2-5', '4-6', '4-7']);
    });
  });
});

describe('properties', () => {
  test('stride 1 is neighborhood attention', () => {
    fc.assert(
      fc.property(gridAxes, (axes) => {
        const params = paramsOf(axes, 'window', 'dilation', 'causal');
        const problem = problemOfLetters(lettersOf(axes.map(({ length }) => length)));
        const plain = neighborhoodAttention.mask!(neighborhoodAttention.parse(params as never), problem);
        expect(method.mask!(method.parse(params as never), problem)).toBe(plain);
      }),
    );
  });

  test('a stride as wide as a window that divides the grid is attention in blocks', () => {
    expectKeys([6, 8], { window: [3, 4], stride: [3, 4] }, (seen) => {
      const block = (token: number) => [Math.floor(token / 8 / 3), Math.floor((token % 8) / 4)].join();
      seen.forEach((keys, query) => {
        expect(keys).toEqual(range(0, 48).filter((key) => block(key) === block(query)));
      });
    });
  });

  test('a window of the whole grid is exact attention', () => {
    expect(maskOf([4, 5], { window: [4, 5], stride: [2, 3] })).toBe(full());
    expectKeys([4, 5], { window: [4, 5], stride: [2, 3] }, (seen) => {
      for (const keys of seen) expect(keys).toEqual(range(0, 20));
    });
  });

  test('without causal axes a group sees one set of keys, the product of the window', () => {
    fc.assert(
      fc.property(gridAxes, (axes) => {
        const grid = axes.map(({ length }) => length);
        const group = (token: number) => groupOf(axes, token);
        expectKeys(grid, paramsOf(axes, 'window', 'stride', 'dilation'), (seen) => {
          const ofGroup = new Map<string, string>();
          seen.forEach((keys, query) => {
            expect(keys.length).toBe(sizeOf(axes.map(({ window }) => window)));
            const known = ofGroup.get(group(query)) ?? keys.join();
            ofGroup.set(group(query), known);
            expect(keys.join()).toBe(known);
          });
        });
      }),
      { numRuns: 20 },
    );
  });

  test.each([2, 4])(
    'with stride and tiles of %i and an odd number of tiles a window: sliding-tile attention',
    (tile) => {
      for (const tiles of [1, 3, 5]) {
        for (let count = tiles; count <= 8; count++) {
          expectKeys([tile * count], { window: tile * tiles, stride: tile }, (seen) => {
            seen.forEach((keys, query) => {
              const first = Math.min(Math.max(Math.floor(query / tile) - (tiles - 1) / 2, 0), count - tiles);
              expect(keys).toEqual(range(first * tile, (first + tiles) * tile));
            });
          });
        }
      }
    },
  );
});

function groupOf(axes: readonly { length: number; stride: number; dilation: number }[], token: number): string {
  const parts: number[] = [];
  let rest = token;
  for (const { length, stride, dilation } of [...axes].reverse()) {
    const x = rest % length;
    rest = Math.floor(rest / length);
    parts.push(x % dilation, Math.floor(Math.floor(x / dilation) / stride));
  }
  return parts.join();
}

test('constant values come out as they are', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const shape = [1, 5, 6, 7, 1, 8];
  const [q, k] = [1, 2].map((seed) => runtime.tensor(normal(sizeOf(shape), seed), shape));
  const v = runtime.tensor(new Float32Array(sizeOf(shape)).fill(-1.5), shape);
  const settings = method.parse({ window: [3, 4, 5], stride: [2, 4, 3] });
  const { out } = method.forward({ q: q!, k: k!, v }, settings);
  expectClose((await out!.toHost()).data as Float32Array, new Float32Array(sizeOf(shape)).fill(-1.5), 1e-6);
});

test('the stride does not change the cost', () => {
  const cost = (stride: number) =>
    method.cost({ ...lettersOf([12, 15]), d: 3, e: 5 }, method.parse({ window: 6, stride }));
  expect(cost(6)).toEqual(cost(1));
  expect(cost(6).flops).toBe(2 * (3 + 5) * 180 * 36);
});

describe('variants', () => {
  test('are windows that fit the grid, each with two strides', () => {
    expect(method.variants(lettersOf([16, 24]))).toEqual([
      { window: [4, 6], stride: [2, 3] },
      { window: [4, 6], stride: [4, 6] },
      { window: [2, 3], stride: [1, 2] },
      { window: [2, 3], stride: [2, 3] },
      { window: [8, 12], stride: [4, 6] },
      { window: [8, 12], stride: [8, 12] },
    ]);
  });

  test('are none without a grid', () => {
    const sequence = { b: 1, n: 64, m: 64, h: 1, g: 1, d: 1, e: 1 } as unknown as ReturnType<typeof lettersOf>;
    expect(method.variants(sequence)).toEqual([]);
  });
});

describe('params', () => {
  test.each([
    [{ window: 3, stride: 0 }, 'param stride of generalized-neighborhood-attention: expected integer >= 1'],
    [{ window: 3, stride: 1.5 }, 'got 1.5'],
    [{ window: 3, stride: [1, '2'] }, 'got [1, "2"]'],
    [{ window: 1 }, 'param window of generalized-neighborhood-attention: expected integer >= 2'],
    [{ window: 3, size: 3 }, "no param 'size': expected window, stride, dilation, causal, scale"],
  ])('%j is refused by name', (params, message) => {
    expect(() => method.parse(params as never)).toThrow(message);
    expect(() => method.parse(params as never)).toThrow(ParameterError);
  });

  test.each([
    [{ window: 3, stride: 4 }, 'stride on axis 0 must be an integer from 1 to 3, the window, got 4'],
    [{ window: [4, 5], stride: [4, 6] }, 'stride on axis 1 must be an integer from 1 to 5, the window, got 6'],
    [{ window: 3, stride: [1, 1, 1] }, 'stride must be one value or one for each of the 2 axes, got 3'],
    [{ window: 10 }, 'window on axis 0 must be an integer from 2 to 9, the length of the grid, got 10'],
    [{ window: 4, stride: 2, dilation: 3 }, 'dilation on axis 0 must be an integer from 1 to 2'],
  ])('%j does not fit a grid of 9 by 11', (params, message) => {
    expect(() => maskOf([9, 11], params)).toThrow(message);
    expect(() => maskOf([9, 11], params)).toThrow(ParameterError);
  });
});
