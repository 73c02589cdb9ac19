import { describe, expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, isOnGpu } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectGradients, type GradientCase } from '../../../test/tape-gradients';
import {
  add,
  cast,
  cholesky,
  contiguous,
  createRuntime,
  eigh,
  inverse,
  logdet,
  lstsq,
  matmul,
  multiply,
  qr,
  type Runtime,
  solve,
  subtract,
  svd,
  type Tensor,
  triangularSolve,
} from '../../index';
import { normal } from '../../tensor/random';

/** x x^T / n + ridge */
function definite(x: Tensor, ridge = 1): Tensor {
  const n = x.shape.at(-1) as number;
  const { runtime } = x;
  const share = runtime.tensor([1 / n], []);
  return add(
    multiply(matmul(x, x, { transposeB: true }), share),
    multiply(runtime.eye(n), runtime.tensor([ridge], [])),
  );
}

const turned = (x: Tensor) => {
  const axes = [...x.shape.keys()];
  return contiguous(x.permute([...axes.slice(0, -2), x.rank - 1, x.rank - 2]));
};

const asColumns = (values: Tensor) => values.reshape([...values.shape.slice(0, -1), 1, values.shape.at(-1) as number]);

async function expectEqual(actual: Tensor, expected: Tensor, tolerance: number): Promise<void> {
  expect(actual.shape).toEqual(expected.shape);
  expectClose((await actual.read()) as Float32Array, (await expected.read()) as Float32Array, tolerance);
}

// Blocks of columns are 96, slices 8 and panels 6 rows: below, at and beyond each, and several matrices.
const SIZES = fewOnGpu([[13], [2, 67], [1], [6], [3, 96], [101], [2, 200]], 2);

describeOnBackends('linear algebra', (runtime) => {
  test.each(SIZES)('the factor of %j times its transpose is the matrix', async (...shape) => {
    await scoped(runtime(), async () => {
      const n = shape.at(-1) as number;
      const a = definite(runtime().random([...shape, n], { seed: n }));
      const l = cholesky(a);
      await expectEqual(matmul(l, turned(l)), a, 3e-6);
      const rows = await l.read();
      for (let at = 0; at < rows.length; at++) if (at % n > Math.floor(at / n) % n) expect(rows[at]).toBe(0);
    });
  });

  test.each(
    fewOnGpu(
      [
        [7, 3],
        [131, 9],
        [40, 1],
      ],
      1,
    ),
  )('triangles of %i rows, %i right-hand sides', async (n, c) => {
    await scoped(runtime(), async () => {
      const l = cholesky(definite(runtime().random([2, n, n], { seed: 1 })));
      const b = runtime().random([2, n, c], { seed: 2 });
      const u = turned(l);
      for (const [triangle, upper] of [
        [l, false],
        [u, true],
      ] as const) {
        await expectEqual(matmul(triangle, triangularSolve(triangle, b, { upper })), b, 2e-5);
        await expectEqual(matmul(turned(triangle), triangularSolve(triangle, b, { upper, transpose: true })), b, 2e-5);
      }
      // What is beyond the triangle does not count, nor the diagonal where it is to be ones.
      const one = runtime().eye(n);
      const strict = subtract(l, multiply(l, one));
      const full = add(add(strict, one), subtract(u, multiply(u, one)));
      const alone = triangularSolve(full, b, { unit: true });
      await expectEqual(matmul(add(strict, one), alone), b, 2e-5);
      await expectEqual(triangularSolve(full, b), alone, 2e-5);
    });
  });

  test.each(
    fewOnGpu(
      [
        [5, 2],
        [151, 19],
      ],
      1,
    ),
  )('positive definite systems of %i, %i right-hand sides', async (n, c) => {
    await scoped(runtime(), async () => {
      const a = definite(runtime().random([n, n], { seed: 3 }), 0.1);
      const b = runtime().random([n, c], { seed: 4 });
      const x = solve(a, b, { assume: 'positive-definite', refine: 2 });
      await expectEqual(matmul(a, x), b, 2e-5);
      await expectEqual(solve(a, b, { assume: 'positive-definite' }), x, 2e-4);
    });
  });

  test('what is not symmetric or not positive definite is told by its place', async () => {
    const refuse = async (rows: number[][], message: string) => {
      using a = runtime().tensor(rows);
      await expectRefusal(runtime(), () => cholesky(a), message);
    };
    await refuse(
      [
        [4, 2, 0],
        [2, 1, 0],
        [0, 0, 1],
      ],
      'a of cholesky is not positive definite: pivot 1 is not above 0 in its element type; add a ridge',
    );
    await refuse(
      [
        [1, 0],
        [0.5, 1],
      ],
      'a of cholesky must be symmetric, its row 1 is not: pass (a + a^T) / 2',
    );
    await refuse(
      [
        [1, 0],
        [0, Number.NaN],
      ],
      'a of cholesky must hold finite numbers, its row 1 has NaN or infinity',
    );
    await scoped(runtime(), async () => {
      const l = runtime().tensor([
        [1, 0],
        [3, 0],
      ]);
      const b = runtime().ones([2, 1]);
      await expectRefusal(runtime(), () => triangularSolve(l, b), 'a of triangularSolve is singular: pivot 1 is 0');
      const [more, wide] = [runtime().ones([1, 2, 1]), runtime().ones([2, 3])];
      await expectRefusal(runtime(), () => triangularSolve(l, more), 'b must have');
      await expectRefusal(
        runtime(),
        () => solve(l, b, { assume: 'diagonal' as never }),
        'assume must be one of general, positive-definite',
      );
      await expectRefusal(runtime(), () => cholesky(wide), 'a');
      if (isOnGpu)
        await expectRefusal(runtime(), () => qr(l), "qr has no kernels for GPUs: use a runtime with backend 'wasm'");
    });
  });

  const DEFINITE: Readonly<Record<string, GradientCase>> = {
    cholesky: { fn: ({ x }) => cholesky(definite(x!)), inputs: { x: [2, 4, 4] } },
    triangularSolve: {
      fn: ({ x, b }) => {
        const l = cholesky(definite(x!));
        return {
          lower: triangularSolve(l, b!, { transpose: true }),
          upper: triangularSolve(turned(l), b!, { upper: true }),
        };
      },
      inputs: { x: [4, 4], b: [4, 2] },
    },
    solve: {
      fn: ({ x, b }) => solve(definite(x!), b!, { assume: 'positive-definite' }),
      inputs: { x: [4, 4], b: [4, 2] },
    },
  };
  test.each(fewOnGpu(Object.entries(DEFINITE), 1))('the gradient of %s', (_, example) =>
    expectGradients(runtime(), example).then(() => undefined),
  );

  describe.skipIf(isOnGpu)('what only CPUs compute', () => onCpu(runtime));
});

function onCpu(runtime: () => Runtime): void {
  const away = (x: Tensor) => add(x, multiply(x.runtime.eye(x.shape.at(-1) as number), x.runtime.tensor([4], [])));

  test.each([[1], [7], [65]])('systems, inverses and determinants of %i rows', async (n) => {
    await scoped(runtime(), async () => {
      const a = away(runtime().random([2, n, n], { seed: n }));
      const b = runtime().random([2, n, 3], { seed: 5 });
      await expectEqual(matmul(a, solve(a, b)), b, 1e-4);
      await expectEqual(matmul(a, inverse(a)), contiguous(runtime().eye(n).expand([2, n, n])), 1e-4);
      const own = definite(a.slice(0, 0, 1).reshape([n, n]));
      const l = await cholesky(own).read();
      const log = Array.from({ length: n }, (_, i) => 2 * Math.log(l[i * n + i]!)).reduce((x, y) => x + y);
      expectClose(await logdet(own).read(), [log], 1e-4 * n);
    });
  });

  test.each([
    [9, 4],
    [4, 9],
    [1, 1],
    [37, 101],
  ])('decompositions of [%i, %i]', async (m, n) => {
    await scoped(runtime(), async () => {
      const a = runtime().random([2, m, n], { seed: m });
      const k = Math.min(m, n);
      const one = contiguous(runtime().eye(k).expand([2, k, k]));
      const { q, r } = qr(a);
      await expectEqual(matmul(q, r), a, 1e-5);
      await expectEqual(matmul(turned(q), q), one, 1e-5);
      const { u, s, v } = svd(a);
      await expectEqual(matmul(multiply(u, asColumns(s)), turned(v)), a, 1e-5);
      await expectEqual(matmul(turned(u), u), one, 1e-5);
      await expectEqual(matmul(turned(v), v), one, 1e-5);
      const values = [...(await s.read())];
      for (let at = 1; at < k; at++) expect(values[at]).toBeLessThanOrEqual(values[at - 1] as number);
      const symmetric = add(matmul(a, turned(a)), runtime().ones([m, m]));
      const { values: w, vectors } = eigh(symmetric);
      await expectEqual(matmul(multiply(vectors, asColumns(w)), turned(vectors)), symmetric, 4e-5 * m);
    });
  });

  test('the least squares solution has residuals at right angles', async () => {
    await scoped(runtime(), async () => {
      const [a, b] = [runtime().random([20, 5], { seed: 1 }), runtime().random([20, 2], { seed: 2 })];
      const left = add(matmul(a, lstsq(a, b)), multiply(b, runtime().tensor([-1], [])));
      await expectEqual(matmul(turned(a), left), runtime().zeros([5, 2]), 1e-5);
      const [wide, right] = [turned(a), runtime().ones([5, 1])];
      await expectRefusal(runtime(), () => lstsq(wide, right), 'a of lstsq must have at least as many rows as columns');
    });
  });

  test('known answers: equal and vanishing values, and what cannot be decomposed', async () => {
    await scoped(runtime(), async () => {
      const diagonal = runtime().tensor([
        [2, 0, 0],
        [0, 2, 0],
        [0, 0, -1],
      ]);
      expectClose(await eigh(diagonal).values.read(), [-1, 2, 2], 1e-6);
      const flat = runtime().tensor([
        [1, 1],
        [1, 1],
      ]);
      expectClose(await svd(flat).s.read(), [2, 0], 1e-6);
      expectClose(await eigh(flat).values.read(), [0, 2], 1e-6);
      const zero = runtime().zeros([3, 3]);
      expectClose(await svd(zero).s.read(), [0, 0, 0], 0);
      expectClose(await eigh(zero).values.read(), [0, 0, 0], 0);
      const refuse = async (f: (a: Tensor) => unknown, rows: number[][], message: string) => {
        using a = runtime().tensor(rows);
        await expectRefusal(runtime(), () => f(a), message);
      };
      const [one, four] = [runtime().ones([2, 1]), runtime().ones([4, 1])];
      await refuse(
        (a) => solve(a, one),
        [
          [1, 1],
          [1, 1],
        ],
        'a of solve is singular: pivot 1 is 0',
      );
      for (const [columns, which] of [
        [[1, 2, 2], 2],
        [[3, 1, 3], 2],
        [[1, 1, 7], 1],
        [[0, 1, 2], 0],
      ] as const)
        await refuse(
          (a) => lstsq(a, four),
          [1, 2, 3, 4].map((t) => columns.map((power) => t ** power * (power === 0 ? 0 : 1e3))),
          `a of lstsq has no one solution: its column ${which} follows from those before it`,
        );
      await refuse(
        (a) => lstsq(a, four),
        [1, 2, 3, 4].map((t) => [t, t * t, 0.1 * t + 0.3 * t * t]),
        'its column 2 follows',
      );
      await refuse(
        (a) => inverse(a),
        [
          [0, 0],
          [0, 0],
        ],
        'a of solve is singular: pivot 0 is 0',
      );
      await refuse(
        (a) => logdet(a),
        [
          [0, 1],
          [1, 0],
        ],
        'is negative, so that it has no logarithm',
      );
      await refuse(
        (a) => eigh(a),
        [
          [1, 2],
          [0, 1],
        ],
        'a of eigh must be symmetric, its row 1',
      );
      await refuse(
        (a) => eigh(a),
        [
          [1, 0],
          [0, Infinity],
        ],
        'must hold finite numbers, its row 1 has NaN',
      );
      await refuse(
        (a) => svd(a),
        [
          [1, Number.NaN],
          [0, 1],
        ],
        'a of svd must hold finite numbers',
      );
    });
  });

  const GENERAL: Readonly<Record<string, GradientCase>> = {
    solve: { fn: ({ x, b }) => solve(away(x!), b!), inputs: { x: [4, 4], b: [4, 2] } },
    inverse: { fn: ({ x }) => inverse(away(x!)), inputs: { x: [2, 3, 3] } },
    logdet: { fn: ({ x }) => logdet(definite(x!)), inputs: { x: [2, 3, 3] } },
    qr: { fn: ({ x }) => ({ ...qr(x!) }), inputs: { x: [5, 3] } },
    lstsq: { fn: ({ x, b }) => lstsq(x!, b!), inputs: { x: [5, 3], b: [5, 2] } },
    eigh: { fn: ({ x }) => ({ ...eigh(definite(x!)) }), inputs: { x: [4, 4] } },
    svd: { fn: ({ x }) => ({ ...svd(x!) }), inputs: { x: [4, 3] } },
    'wide svd': { fn: ({ x }) => ({ ...svd(x!) }), inputs: { x: [3, 4] } },
  };
  test.each(Object.entries(GENERAL))('the gradient of %s', (_, example) =>
    expectGradients(runtime(), { tolerance: 1e-3, ...example }).then(() => undefined),
  );

  test('in f64, to its own digits', async () => {
    await scoped(runtime(), async () => {
      // Hilbert's matrix, of condition 5e8, which f32 cannot factor.
      const n = 7;
      const hilbert = Float64Array.from({ length: n * n }, (_, at) => 1 / (1 + (at % n) + Math.floor(at / n)));
      const a = runtime().tensor(hilbert, [n, n], 'f64');
      const x = Float64Array.from(normal(n, 3));
      const right = Float64Array.from(x, (_, i) => x.reduce((sum, value, j) => sum + hilbert[i * n + j]! * value, 0));
      const b = runtime().tensor(right, [n, 1], 'f64');
      for (const assume of ['general', 'positive-definite'] as const)
        expectClose(await solve<'f64'>(a, b, { assume }).read(), x, 1e-6);
      const l = cholesky<'f64'>(a);
      expect(l.dtype).toBe('f64');
      const half = triangularSolve<'f64'>(l, b);
      expectClose(await triangularSolve<'f64'>(l, half, { transpose: true }).read(), x, 1e-6);
      const values = [...(await eigh<'f64'>(a).values.read())];
      expectClose([...(await svd<'f64'>(a).s.read())].reverse(), values, 1e-14);
      expect(values[0]).toBeCloseTo(3.4938986e-9, 14);
      await expectRefusal(runtime(), () => matmul(a, a), 'a must be f32, f16, bf16, got f64');
      expect(await cast(cast(b, 'f32'), 'f64').read()).toEqual(Float64Array.from(new Float32Array(right)));
    });
  });
}

test('the same bits on any number of threads, of matrices of several blocks', async () => {
  const found: Float32Array[] = [];
  const vectors: Float32Array[] = [];
  for (const threads of [1, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    await scoped(runtime, async () => {
      const a = definite(runtime.random([250, 250], { seed: 1 }));
      found.push(await solve(a, runtime.random([250, 20], { seed: 2 }), { assume: 'positive-definite' }).read());
      await expectEqual(matmul(cholesky(a), turned(cholesky(a))), a, 5e-6);
      const part = contiguous(a.slice(0, 0, 130).slice(1, 0, 130));
      const { values, vectors: v } = eigh(part);
      vectors.push(await v.read());
      await expectEqual(matmul(v, multiply(turned(v), values.reshape([130, 1]))), part, 5e-6);
      await expectEqual(matmul(turned(v), v), runtime.eye(130), 1e-6);
    });
  }
  expect(found[0]).toEqual(found[1]);
  expect(vectors[0]).toEqual(vectors[1]);
});
