/** Plans of linear algebra for the CPU. */
import { PANEL } from '../../runtime/cpu/params';
import {
  address,
  ELEMENTS_PER_MICROSECOND,
  FLOPS_PER_MICROSECOND,
  type Job,
  type Machine,
  type Plan,
  withMemory,
} from '../../runtime/cpu/plan';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type {
  CholeskyCall,
  CholeskySolveCall,
  EighCall,
  LuCall,
  QrCall,
  RefinedSolveCall,
  SvdCall,
  TriangularCall,
} from './call';
import {
  BLOCK,
  CholeskyParams,
  DenseParams,
  EighParams,
  LANES,
  QrParams,
  REFLECTIONS,
  ResidualParams,
  STRIP,
  SvdParams,
  TriangularParams,
} from './params.generated';

/** Tasks that there are for each thread, at least, where sizes allow it. */
const TASKS_PER_THREAD = 4;
/** Slices that a task takes at most: what they share is read once for all of them. */
const MOST_SLICES = 12;
const SLICE_BYTES = 32;
/** How much slower unblocked float64 is than blocked products. */
const UNBLOCKED = 10;

/** Matrices [batches][n][n]. */
interface Matrices {
  readonly n: number;
  readonly batches: number;
  readonly wide: boolean;
}

const matricesOf = ({ shape, dtype }: Tensor): Matrices => ({
  n: shape.at(-1) as number,
  batches: sizeOf(shape.slice(0, -2)),
  wide: dtype === 'f64',
});

const bytesOf = (wide: boolean) => (wide ? 8 : 4);
const slicesFor = (rows: number, wide: boolean) => Math.ceil((rows * bytesOf(wide)) / SLICE_BYTES);
const unknowns = (n: number) => Math.ceil(n / PANEL) * PANEL;
const slicesOfTask = (slices: number, threads: number) =>
  Math.min(MOST_SLICES, Math.max(1, Math.ceil(slices / (TASKS_PER_THREAD * threads))));

export function planCholesky({ a, out, status }: CholeskyCall, { threads }: Machine): Plan {
  const matrices = matricesOf(a);
  const places = { a: address(a), out: address(out), status: address(status) };
  return withMemory(factorBytes(matrices), (memory) => factorJobs(matrices, { ...places, ...memory }, threads));
}

const factorBytes = ({ n, batches, wide }: Matrices) => ({
  slices: batches * slicesFor(n, wide) * unknowns(n) * SLICE_BYTES,
  panels: batches * BLOCK * unknowns(n) * bytesOf(wide),
});

/** A job for each block of columns, and one that stores the factor. */
function factorJobs(
  { n, batches, wide }: Matrices,
  places: Readonly<Record<'a' | 'out' | 'status' | 'slices' | 'panels', number>>,
  threads: number,
): Job[] {
  const jobs: Job[] = [];
  const all = slicesFor(n, wide);
  const tasksOf = (slices: number, each: number) => batches * Math.ceil(slices / each);
  for (let first = 0; first < n; first += BLOCK) {
    const count = Math.min(BLOCK, n - first);
    const rest = all - slicesFor(first, wide);
    const below = all - slicesFor(first + count, wide);
    const each = slicesOfTask(rest, threads);
    jobs.push({
      phases: [
        first === 0
          ? { kernel: 'choleskyCheck', tasks: batches * Math.ceil(n / BLOCK) }
          : { kernel: 'choleskyPack', tasks: batches * Math.ceil(count / PANEL) },
        { kernel: 'choleskyRows', tasks: tasksOf(rest, each), main: true },
        { kernel: 'choleskyBlock', tasks: batches },
        { kernel: 'cholesky', tasks: tasksOf(below, each) },
      ],
      params: CholeskyParams({ n, batches, wide, first, count, slicesOfTask: each, ...places }),
      microseconds: (batches * (2 * first + count) * (n - first) * count) / FLOPS_PER_MICROSECOND,
    });
  }
  jobs.push({
    phases: [{ kernel: 'choleskyStore', tasks: batches * all }],
    params: CholeskyParams({ n, batches, wide, first: 0, count: 0, slicesOfTask: 1, ...places }),
    microseconds: (batches * n * n) / ELEMENTS_PER_MICROSECOND,
  });
  return jobs;
}

export function planTriangularSolve(call: TriangularCall, { threads }: Machine): Plan {
  const { a, b, out, status } = call;
  const matrices = matricesOf(a);
  const columns = b.shape.at(-1) as number;
  const places = { a: address(a), b: address(b), out: address(out), status: address(status) };
  return withMemory(triangleBytes(matrices, columns), (memory) => [
    triangleJob(matrices, columns, call, { ...places, ...memory }, threads),
  ]);
}

const triangleBytes = ({ n, batches, wide }: Matrices, columns: number) => ({
  slices: batches * slicesFor(columns, wide) * unknowns(n) * SLICE_BYTES,
  panels: batches * unknowns(n) ** 2 * bytesOf(wide),
});

type TrianglePlaces = Readonly<
  Record<'a' | 'b' | 'out' | 'status' | 'slices' | 'panels', number> & { readonly done?: number }
>;

function triangleJob(
  { n, batches, wide }: Matrices,
  columns: number,
  { upper, transpose, unit }: Pick<TriangularCall, 'upper' | 'transpose' | 'unit'>,
  places: TrianglePlaces,
  threads: number,
): Job {
  const slices = slicesFor(columns, wide);
  // As few tasks as there are threads: each reads the whole triangle.
  const each = Math.min(MOST_SLICES, Math.max(1, Math.ceil((slices * batches) / threads)));
  const backwards = upper !== transpose;
  return {
    phases: [
      { kernel: 'packTriangle', tasks: batches * Math.ceil(n / PANEL) },
      { kernel: 'triangularSolve', tasks: batches * Math.ceil(slices / each), main: true },
    ],
    params: TriangularParams({
      n,
      columns,
      batches,
      wide,
      backwards,
      transposed: transpose,
      unit,
      slicesOfTask: each,
      done: 0,
      ...places,
    }),
    microseconds: (batches * n * n * columns) / FLOPS_PER_MICROSECOND + (batches * n * n) / ELEMENTS_PER_MICROSECOND,
  };
}

const LOWER = { upper: false, transpose: false, unit: false };
const TRANSPOSED = { ...LOWER, transpose: true };

/** Jobs that a solution by a factor is made of, and their working memory. */
function choleskySolving({ a, b }: Record<'a' | 'b', Tensor>, threads: number) {
  const matrices = matricesOf(a);
  const { n, batches, wide } = matrices;
  const columns = b.shape.at(-1) as number;
  const [ofFactor, ofTriangle] = [factorBytes(matrices), triangleBytes(matrices, columns)];
  const bytes = {
    // The factor's working memory is free again once the triangle is packed.
    slices: Math.max(ofFactor.slices, ofTriangle.panels),
    panels: Math.max(ofFactor.panels, ofTriangle.slices),
    unchecked: 4 * batches * n,
  };
  const pairs = batches * Math.ceil(n / 2);
  const pairsOfTask = Math.ceil(pairs / (TASKS_PER_THREAD * threads));
  const job = (
    kernel: string,
    params: readonly number[],
    operations: number,
    tasks = Math.ceil(pairs / pairsOfTask),
  ): Job => ({
    phases: [{ kernel, tasks }],
    params,
    microseconds: operations / ELEMENTS_PER_MICROSECOND,
  });
  return {
    bytes,
    correctionBytes: b.size * bytesOf(wide),
    /** Residuals and corrections share their params. */
    paramsOf: (
      more: Partial<Record<'done' | 'factor' | 'memory' | 'condition' | 'error' | 'steps', number>> &
        Readonly<Record<'x' | 'residual' | 'correction', number>>,
      wideX = wide,
    ) =>
      ResidualParams({
        ...{ n, columns, batches, wide, wideX, pairsOfTask, a: address(a), b: address(b) },
        ...{ done: 0, factor: 0, memory: 0, condition: 0, error: 0, steps: 0 },
        ...more,
      }),
    residual: (params: readonly number[]) => job('residual', params, n * b.size),
    correct: (params: readonly number[]) => job('correct', params, b.size),
    ofMatrix: (kernel: string, params: readonly number[], operations: number) =>
      job(kernel, params, operations, batches),
    jobsOf(factor: number, status: number, memory: Readonly<Record<keyof typeof bytes, number>>, done = 0) {
      const { slices, panels, unchecked } = memory;
      const places = { a: factor, status: unchecked, slices: panels, panels: slices, done };
      return {
        factor: factorJobs(matrices, { a: address(a), out: factor, status, slices, panels }, threads),
        solve: (right: number, to: number) => [
          triangleJob(matrices, columns, LOWER, { ...places, b: right, out: to }, threads),
          triangleJob(matrices, columns, TRANSPOSED, { ...places, b: to, out: to }, threads),
        ],
      };
    },
  };
}

/** The factor, two substitutions, and as many corrections as are asked for. */
export function planCholeskySolve(call: CholeskySolveCall, { threads }: Machine): Plan {
  const { b, out, factor, status, refine } = call;
  const solving = choleskySolving(call, threads);
  const correctionBytes = refine > 0 ? solving.correctionBytes : 0;
  const bytes = { ...solving.bytes, residual: correctionBytes, correction: correctionBytes };
  return withMemory(bytes, ({ residual, correction, ...memory }) => {
    const params = solving.paramsOf({ x: address(out), residual, correction });
    const jobs = solving.jobsOf(address(factor), address(status), memory);
    const corrections = Array.from({ length: refine }, () => [
      solving.residual(params),
      ...jobs.solve(residual, correction),
      solving.correct(params),
    ]);
    return [...jobs.factor, ...jobs.solve(address(b), address(out)), ...corrections.flat()];
  });
}

/** Corrections of a refined solution, at most: those of matrices that are done already do nothing. */
const MOST_CORRECTIONS = 10;

/** A solution in float64 by a factor in a's element type, corrected until that no longer helps. */
function planRefinedCholesky(call: RefinedSolveCall, { threads }: Machine): Plan {
  const { a, b, x, condition, error, steps, status } = call;
  const solving = choleskySolving(call, threads);
  const { n, batches, wide } = matricesOf(a);
  const bytes = {
    ...solving.bytes,
    residual: solving.correctionBytes,
    correction: solving.correctionBytes,
    factor: a.size * bytesOf(wide),
    done: 4 * batches,
    own: 8 * batches * (2 * n + 2),
  };
  return withMemory(bytes, ({ residual, correction, factor, done, own, ...memory }) => {
    const told = { condition: address(condition), error: address(error), steps: address(steps) };
    const params = solving.paramsOf({ x: address(x), residual, correction, done, factor, memory: own, ...told }, true);
    const jobs = solving.jobsOf(factor, address(status), memory, done);
    const correcting = (right: number) => [...jobs.solve(right, correction), solving.correct(params)];
    const judging = [solving.residual(params), solving.ofMatrix('judgeResidual', params, 3 * b.size)];
    return [
      ...jobs.factor,
      solving.ofMatrix('beginRefinement', params, 12 * n * n * batches),
      ...correcting(address(b)),
      ...Array.from({ length: MOST_CORRECTIONS }, () => [...judging, ...correcting(residual)]).flat(),
      ...judging,
    ];
  });
}

export const planRefinedSolve = (call: RefinedSolveCall, machine: Machine): Plan =>
  call.assume === 'general' ? planRefinedLu(call) : planRefinedCholesky(call, machine);

const NO_PLACES = { others: 0, b: 0, first: 0, second: 0, third: 0, status: 0, condition: 0, error: 0, steps: 0 };

/** A kernel of a matrix a task, whose working memory is so many float64 numbers for each. */
function densePlan(
  kernel: string,
  a: Tensor,
  numbers: number,
  flops: number,
  places: Partial<Record<keyof typeof NO_PLACES, number>>,
): Plan {
  const [rows, columns] = a.shape.slice(-2) as [number, number];
  const batches = sizeOf(a.shape.slice(0, -2));
  const bytes = 8 * numbers;
  return withMemory({ memory: batches * bytes }, ({ memory }) => [
    {
      phases: [{ kernel, tasks: batches }],
      params: DenseParams({
        ...NO_PLACES,
        ...places,
        ...{ rows, columns, wide: a.dtype === 'f64', a: address(a), memory, bytes },
      }),
      microseconds: (batches * flops * UNBLOCKED) / FLOPS_PER_MICROSECOND,
    },
  ]);
}

/** Numbers that a factor with pivoting takes beside the right-hand sides: the matrix, four vectors and the order of its rows. */
const luNumbers = (n: number, others: number) => n * (n + others) + 4 * n + Math.ceil(n / 2);

export function planLu({ a, b, out, log, sign, status }: LuCall): Plan {
  const n = a.shape.at(-1) as number;
  const others = b?.shape.at(-1) ?? 0;
  return densePlan('lu', a, luNumbers(n, others), (2 / 3) * n ** 3 + 2 * n * n * others, {
    others,
    b: address(b),
    first: address(out),
    second: address(log),
    third: address(sign),
    status: address(status),
  });
}

function planRefinedLu({ a, b, x, condition, error, steps, status }: RefinedSolveCall): Plan {
  const [n, others] = b.shape.slice(-2) as [number, number];
  return densePlan('lu', a, luNumbers(n, others), (2 / 3) * n ** 3 + 6 * n * n * others, {
    others,
    b: address(b),
    first: address(x),
    status: address(status),
    condition: address(condition),
    error: address(error),
    steps: address(steps),
  });
}

export function planQr({ a, q, r }: QrCall): Plan {
  const { rows, columns, k, batches, wide } = extentsOf(a);
  const bytes = {
    lines: 8 * batches * rows * columns,
    reflections: 8 * batches * k * rows,
    basis: 8 * batches * k * rows,
    triangles: 8 * batches * Math.ceil(k / REFLECTIONS) * REFLECTIONS ** 2,
  };
  const places = { a: address(a), q: address(q), r: address(r) };
  return withMemory(bytes, (memory) => {
    const job = (flops: number, kernels: Readonly<Record<string, number>>, first = 0): Job => ({
      phases: phasesOf(kernels),
      params: QrParams({ rows, columns, wide, first, ...places, ...memory }),
      microseconds: (batches * flops) / FLOPS_PER_MICROSECOND,
    });
    const strips = (count: number) => batches * Math.ceil(count / STRIP);
    const jobs = [job(100 * rows * columns, { qrWiden: strips(columns) })];
    for (let first = 0; first < k; first += REFLECTIONS) {
      const rest = columns - Math.min(first + REFLECTIONS, k);
      const update: Record<string, number> = rest > 0 ? { qrUpdate: strips(rest) } : {};
      const flops = 16 * REFLECTIONS * (rows - first) * (REFLECTIONS + rest);
      jobs.push(job(flops, { qrBlock: batches, ...update }, first));
    }
    return [...jobs, job(8 * rows * k * k, { qrBasis: strips(k), qrStore: strips(k) })];
  });
}

/** Matrices [batches][rows][columns]. */
function extentsOf({ shape, dtype }: Tensor) {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return { rows, columns, k: Math.min(rows, columns), batches: sizeOf(shape.slice(0, -2)), wide: dtype === 'f64' };
}

const phasesOf = (kernels: Readonly<Record<string, number>>) =>
  Object.entries(kernels).map(([kernel, tasks]) => ({ kernel, tasks }));

/** Up to so many rows a matrix is small: its products are one task, and its rotations are listed at once. */
const SMALL = 128;
/** QL steps in rounds: those of a round are listed, and then applied. */
const roundsOf = (n: number) => (n <= SMALL ? 3 : 12);
const partsOf = (n: number) => (n <= SMALL ? 1 : 8);

function eighBytes({ n, batches }: Matrices) {
  const mostRotations = Math.ceil(n * n * (n <= SMALL ? 3 : 0.5)) + 2 * n;
  const mostSweeps = 4 * n + 64;
  const numbers = (count: number) => 8 * batches * count;
  return {
    most: { mostRotations, mostSweeps },
    bytes: {
      matrix: numbers(n * n),
      reflections: numbers(n * Math.ceil(n / LANES) * LANES),
      triangles: numbers(Math.ceil(n / REFLECTIONS) * REFLECTIONS ** 2),
      changes: numbers(REFLECTIONS * n),
      sums: numbers(partsOf(n) * n),
      diagonals: numbers(2 * n),
      rotations: numbers(2 * mostRotations),
      sweeps: numbers(1.5 * mostSweeps),
      state: numbers(8),
      ranks: numbers(n),
    },
  };
}

type EighPlaces = Readonly<
  Record<'a' | 'values' | 'vectors' | 'status' | keyof ReturnType<typeof eighBytes>['bytes'], number>
>;

function eighJobs(matrices: Matrices, places: EighPlaces): Job[] {
  const { n, batches, wide } = matrices;
  const { most } = eighBytes(matrices);
  const [parts, rounds] = [partsOf(n), roundsOf(n)];
  const tasks = (each: number, rows = n) => batches * Math.ceil(rows / each);
  const job = (
    flops: number,
    kernels: Readonly<Record<string, number>>,
    { first = 0, column = 0 }: Partial<Record<'first' | 'column', number>> = {},
  ): Job => ({
    phases: phasesOf(kernels),
    params: EighParams({ n, wide, first, column, parts, ...places, ...most }),
    microseconds: (batches * flops) / FLOPS_PER_MICROSECOND,
  });
  const [strips, chunks] = [tasks(STRIP), tasks(LANES)];
  const jobs = [job(100 * n * n, { eighWiden: strips, eighCheck: strips, eighScale: strips })];
  for (let first = 0; first < n; first += REFLECTIONS) {
    const past = first + REFLECTIONS;
    for (let column = first; column < Math.min(past, n); column++) {
      const multiply: Record<string, number> = column < n - 2 ? { eighMultiply: batches * parts } : {};
      jobs.push(job(16 * (n - column) ** 2, { eighColumn: batches, ...multiply }, { first, column }));
    }
    const rest = n - past;
    if (rest > 0)
      jobs.push(
        job(
          4 * REFLECTIONS * rest ** 2,
          { eighColumn: batches, eighUpdate: tasks(STRIP, rest) },
          { first, column: past },
        ),
      );
  }
  const round = job((10 * n ** 3) / rounds, { eighRotations: batches, eighRotate: chunks });
  return [
    ...jobs,
    job(6 * n ** 3, { eighTriangle: tasks(REFLECTIONS), eighVectors: strips, eighChunk: chunks }),
    ...new Array<Job>(rounds).fill(round),
    job(100 * n * n, { eighOrder: batches, eighSigns: strips, eighStore: chunks }),
  ];
}

export function planEigh({ a, values, vectors, status }: EighCall): Plan {
  const matrices = matricesOf(a);
  const places = { a: address(a), values: address(values), vectors: address(vectors), status: address(status) };
  return withMemory(eighBytes(matrices).bytes, (memory) => eighJobs(matrices, { ...places, ...memory }));
}

export function planSvd({ a, u, s, v, status }: SvdCall): Plan {
  const { rows, columns, k, batches, wide } = extentsOf(a);
  const ofPairs: Matrices = { n: k, batches, wide: true };
  const list = (length: number) => 8 * batches * k * length;
  const own = {
    lines: list(Math.max(rows, columns)),
    rotated: list(Math.max(rows, columns)),
    products: list(k),
    vectors: list(k),
    turns: list(k),
    norms: list(2),
  };
  const bytes = { ...own, squares: list(1), unchecked: list(1), ...eighBytes(ofPairs).bytes };
  const places = { a: address(a), u: address(u), s: address(s), v: address(v), status: address(status) };
  return withMemory(bytes, ({ lines, rotated, products, vectors, turns, norms, squares, unchecked, ...ofEigh }) => {
    const memory = { lines, rotated, products, vectors, turns, norms };
    const params = SvdParams({ rows, columns, wide, ...places, ...memory });
    const job = (flops: number, kernels: Readonly<Record<string, number>>): Job => ({
      phases: phasesOf(kernels),
      params,
      microseconds: (batches * flops) / FLOPS_PER_MICROSECOND,
    });
    const strips = batches * Math.ceil(k / STRIP);
    return [
      job(4 * rows * columns * k, { svdWiden: strips, svdProducts: strips }),
      ...eighJobs(ofPairs, { ...ofEigh, a: products, values: squares, vectors, status: unchecked }),
      job(20 * rows * columns * k, { svdRotate: strips, svd: batches }),
    ];
  });
}
