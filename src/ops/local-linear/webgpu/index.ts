/**
 * Local linear attention on a GPU, some heads and rows at a time: numbers of their pairs, [heads][rows][keys], lie in working
 * memory, and products of blocks go over them. Vectors of rows lie [tiles][columns][32 rows], so that a lane has a row of its
 * own where systems are solved; tiles whose systems are solved take no part in further iterations. Directly, a workgroup
 * has the matrix of one row.
 */
import type { Dispatch, Kernel, Region } from '../../../runtime/webgpu/kernel';
import { rowsDispatch } from '../../../runtime/webgpu/kernels/block-product';
import type { Plan, Workspace } from '../../../runtime/webgpu/plan';
import { type LocalLinearBackwardCall, type LocalLinearCall, type LocalLinearProblem, SECOND_TOLERANCE } from '../call';
import { centreKernel, combineKernel, keysKernel, pairsKernel, type Sum, softmaxKernel, sumKernel } from './pairs';
import { directKernel, secondKernel, solutionKernel, startKernel, stepKernel } from './systems';
import { CHUNK, STATE, TILE } from './tile';
import { chunkKernel, loadKernel, queriesKernel } from './vectors';

/** The most pairs computed at once, unless a tile of one head has more. */
const MOST_PAIRS = 2 ** 22;

type Regions = Readonly<Record<string, Region>>;
type Numbers = Readonly<Record<string, number>>;
type Problem = ReturnType<typeof problemOf>;

/** A call's extents, the memory of the rows that are computed at once, and how many these are. */
function problemOf(call: LocalLinearProblem, tolerance: number, workspace: Workspace) {
  const { q, k, v, ridge, ridgeRows, causal, solver, maxIterations } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const keyTiles = Math.ceil(m / TILE);
  const keyChunks = Math.ceil(m / CHUNK);
  const stride = keyTiles * TILE;
  const matrix = solver === 'direct' ? (d * (d + 1)) / 2 : 0;
  const most = Math.max(1, Math.floor(MOST_PAIRS / (Math.max(stride, matrix) * TILE)));
  const tiles = Math.min(Math.ceil(n / TILE), most);
  const places = Math.min(b * h, Math.max(1, Math.floor(most / tiles)));
  const rows = places * tiles * TILE;
  const vector = (columns: number) => workspace.scratch([rows * columns]);
  const largest = workspace.scratch([b * g * keyChunks]);
  const bad = workspace.scratch([b * g * keyChunks * e]);
  const [keys, common] = [workspace.scratch([b, m, g, d]), workspace.scratch([b * g * d])];
  const extremes: Dispatch = {
    kernel: chunkKernel,
    operands: { k, v, keys, common, largest, bad },
    numbers: { m, d, e, key_heads: g, chunks: keyChunks },
    tasks: b * g * keyChunks,
    operations: b * g * m * (2 * d + e),
  };
  return {
    extents: { b, n, m, h, g, d, e },
    cut: { keyTiles, keyChunks, stride, tiles, places },
    isStaged: !workspace.device.isSoftware,
    solver: { isDirect: matrix > 0, tolerance, maxIterations, matrix: workspace.scratch([Math.max(1, rows * matrix)]) },
    causal,
    ridges: {
      operands: { ridges: ridgeRows ?? { ...largest, shape: [1, 1, 1], strides: [1, 1, 1] } },
      numbers: { ridge, has_rows: Number(ridgeRows !== undefined) },
    },
    vector,
    pairs: () => workspace.scratch([rows * stride]),
    live: workspace.scratch([places * tiles]),
    state: workspace.scratch([STATE.length * rows]),
    largest,
    bad,
    keys,
    common,
    extremes,
    means: vector(d),
    image: vector(d),
    right: vector(d),
    solution: vector(d),
    direction: vector(d),
  };
}

/** The passes over some rows of some heads that both directions share. */
class Rows {
  /** Tiles. */
  readonly held: number;
  readonly #numbers: Numbers;

  constructor(
    readonly problem: Problem,
    firstPlace: number,
    firstRow: number,
  ) {
    const { extents, cut, causal } = problem;
    const { b, n, m, h, g, d } = extents;
    const { stride, tiles, places } = cut;
    this.held = Math.min(places, b * h - firstPlace) * tiles;
    this.#numbers = {
      n,
      m,
      h,
      d,
      stride,
      tiles,
      causal: Number(causal),
      key_heads: g,
      rows: this.held * TILE,
      first_place: firstPlace,
      first_row: firstRow,
    };
  }

  pass(kernel: Kernel, operands: Regions, numbers: Numbers, tasks: number, operationsOfRow: number): Dispatch {
    const operations = this.held * TILE * operationsOfRow;
    return rowsDispatch({ kernel, operands, numbers: { ...this.#numbers, ...numbers }, tasks, operations });
  }

  /** A workgroup for each tile. */
  overTiles(kernel: Kernel, operands: Regions, numbers: Numbers = {}): Dispatch {
    const { d, e } = this.problem.extents;
    return this.pass(kernel, operands, numbers, this.held, 4 * (d + e));
  }

  /** A workgroup for each row. */
  overRows(
    kernel: Kernel,
    operands: Regions,
    numbers: Numbers = {},
    operations = 20 * this.problem.extents.m,
  ): Dispatch {
    return this.pass(kernel, operands, numbers, this.held * TILE, operations);
  }

  load(x: Region, vector: Region): Dispatch {
    return this.overTiles(loadKernel, { x, vector, live: this.problem.live });
  }

  /** The products of a vector and rows y, times a factor. */
  products(vector: Region, y: Region, pairs: Region, factor = 1): Dispatch {
    const { extents, cut, isStaged, live } = this.problem;
    const columns = y.shape[3] as number;
    const numbers = { columns, key_tiles: cut.keyTiles, factor };
    const tasks = this.held * cut.keyTiles;
    return this.pass(pairsKernel(isStaged), { vector, y, live, pairs }, numbers, tasks, 2 * extents.m * columns);
  }

  sum(to: Sum, pairs: Region, y: Region, outputs: Regions): Dispatch {
    const { extents, cut, isStaged, live } = this.problem;
    const columns = y.shape[3] as number;
    const blocks = Math.ceil(columns / 32);
    const operands = { pairs, y, live, ...outputs };
    const numbers = { columns, blocks, chunks: cut.keyChunks };
    return this.pass(sumKernel({ to, isStaged }), operands, numbers, this.held * blocks, 2 * extents.m * columns);
  }

  /** Weights of pairs, and the means of the keys under them. */
  weights(vector: Region, weights: Region, scale: number): Dispatch[] {
    const { keys, state, means } = this.problem;
    return [
      this.products(vector, keys, weights, scale),
      this.overRows(softmaxKernel, { weights, state }),
      this.sum('vector', weights, keys, { vector: means }),
    ];
  }

  /** From right-hand sides, or forward from queries, to solutions. */
  solve(
    weights: Region,
    products: Region,
    pairs: Region,
    start: Kernel,
    operands: Regions,
    numbers: Numbers,
  ): Dispatch[] {
    const { extents, solver, ridges, live, state, keys, means, image, right, solution, direction } = this.problem;
    const { m, d } = extents;
    const { isDirect, tolerance, maxIterations, matrix } = solver;
    const vectors = { means, right, solution, direction, state, live, ...ridges.operands };
    const own = { ...numbers, ...ridges.numbers, direct: Number(isDirect) };
    const started = this.pass(start, { ...vectors, ...operands }, own, this.held, 8 * d);
    if (isDirect) {
      const systems = { weights, k: keys, means, right, solution, state, matrix, ...ridges.operands };
      return [started, this.overRows(directKernel, systems, ridges.numbers, m * d * (d + 1) + d ** 3 / 3)];
    }
    const iteration = [
      this.products(direction, keys, products),
      this.overRows(centreKernel(false), { weights, products, pairs, live, state }),
      this.sum('vector', pairs, keys, { vector: image }),
      this.pass(stepKernel, { ...vectors, image }, { ...ridges.numbers, tolerance }, this.held, 10 * d),
    ];
    return [started, ...Array.from({ length: maxIterations }, () => iteration).flat()];
  }
}

/** All rows of all heads, some at a time. */
function rowsOf(problem: Problem): Rows[] {
  const { b, n, h } = problem.extents;
  const { tiles, places } = problem.cut;
  const all: Rows[] = [];
  for (let place = 0; place < b * h; place += places) {
    for (let row = 0; row < n; row += tiles * TILE) all.push(new Rows(problem, place, row));
  }
  return all;
}

export function planLocalLinear(call: LocalLinearCall, workspace: Workspace): Plan {
  const { q, v, out, lse, solution, residual, iterations, scale, tolerance } = call;
  const problem = problemOf(call, tolerance, workspace);
  const { extents, cut, extremes, live, state, largest, bad, keys, common } = problem;
  const [weights, products, factors] = [problem.pairs(), problem.pairs(), problem.pairs()];
  const queries = problem.vector(extents.d);
  const solved = { vector: problem.solution, state, live, largest, solution, residual, iterations };
  const dispatches = rowsOf(problem).flatMap((rows) => [
    rows.load(q, queries),
    ...rows.weights(queries, weights, scale),
    ...rows.solve(weights, products, factors, startKernel(true), { q, common, lse }, { scale }),
    rows.overTiles(solutionKernel, solved, { chunks: cut.keyChunks }),
    rows.products(problem.solution, keys, products),
    rows.overRows(centreKernel(true), { weights, products, pairs: factors, live }),
    rows.sum('out', factors, v, { out, bad }),
  ]);
  return { dispatches: [extremes, ...dispatches] };
}

export function planLocalLinearBackward(call: LocalLinearBackwardCall, workspace: Workspace): Plan {
  const { q, v, gradOut, solution, gradQ, gradK, gradV, gradRidgeRows, residual, scale, stopGradRidge } = call;
  const problem = problemOf(call, call.tolerance * SECOND_TOLERANCE, workspace);
  const { extents, cut, extremes, isStaged, ridges, live, state, largest, means, image, keys, common } = problem;
  const { b, n, m, h, g, d, e } = extents;
  const [weights, products, bySecond, byFirst] = [problem.pairs(), problem.pairs(), problem.pairs(), problem.pairs()];
  const [own, first] = [problem.vector(Math.max(d, e)), problem.vector(d)];
  const second = workspace.scratch([b, n, h, d]);
  const byRidge = gradRidgeRows ?? workspace.scratch([b * n * h]);
  const dispatches = rowsOf(problem).flatMap((rows, at) => {
    const toKeys = (ofKeys: boolean, out: Region, operands: Regions) => {
      const columns = ofKeys ? d : e;
      const blocks = Math.ceil(columns / 32);
      const numbers = { columns, blocks, key_tiles: cut.keyTiles, scale, is_first: Number(at === 0) };
      const kernel = keysKernel({ ofKeys, isStaged });
      const tasks = b * g * cut.keyTiles * blocks;
      return rows.pass(kernel, { out, ...operands }, numbers, tasks, 2 * m * columns * (ofKeys ? 3 : 1));
    };
    const ofSecond = { vector: problem.solution, first, state, largest, by_ridge: byRidge, residual };
    const counts = { chunks: cut.keyChunks, counts: Number(!stopGradRidge) };
    return [
      rows.load(q, own),
      ...rows.weights(own, weights, scale),
      rows.load(gradOut, own),
      rows.products(own, v, products),
      rows.overRows(centreKernel(false), { weights, products, pairs: bySecond, live, state }),
      rows.sum('vector', bySecond, keys, { vector: problem.right }),
      ...rows.solve(weights, byFirst, bySecond, startKernel(false), {}, {}),
      rows.load(solution, first),
      rows.overTiles(secondKernel, { ...ofSecond, ...ridges.operands }, { ...ridges.numbers, ...counts }),
      rows.products(problem.solution, keys, bySecond),
      rows.products(first, keys, byFirst),
      rows.overRows(combineKernel, { weights, products, by_second: bySecond, by_first: byFirst, state }),
      rows.sum('vector', bySecond, keys, { vector: image }),
      rows.overTiles(
        queriesKernel,
        { sums: image, vector: problem.solution, means, common, state, out: gradQ, second },
        { scale },
      ),
      toKeys(true, gradK, { scores: bySecond, errors: products, factors: weights, q, first: solution, second }),
      toKeys(false, gradV, { factors: weights, grad: gradOut }),
    ];
  });
  return { dispatches: [extremes, ...dispatches] };
}
