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
import type { CholeskyCall, CholeskySolveCall, EighCall, LuCall, QrCall, SvdCall, TriangularCall } from './call';
import { BLOCK, CholeskyParams, DenseParams, ResidualParams, TriangularParams } from './params.generated';

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

type TrianglePlaces = Readonly<Record<'a' | 'b' | 'out' | 'status' | 'slices' | 'panels', number>>;

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
      ...places,
    }),
    microseconds: (batches * n * n * columns) / FLOPS_PER_MICROSECOND + (batches * n * n) / ELEMENTS_PER_MICROSECOND,
  };
}

const LOWER = { upper: false, transpose: false, unit: false };
const TRANSPOSED = { ...LOWER, transpose: true };

/** The factor, two substitutions, and as many corrections as are asked for. */
export function planCholeskySolve(call: CholeskySolveCall, { threads }: Machine): Plan {
  const { a, b, out, factor, status, refine } = call;
  const matrices = matricesOf(a);
  const { n, batches, wide } = matrices;
  const columns = b.shape.at(-1) as number;
  const [ofFactor, ofTriangle] = [factorBytes(matrices), triangleBytes(matrices, columns)];
  const bytes = {
    // The factor's working memory is free again once the triangle is packed.
    slices: Math.max(ofFactor.slices, ofTriangle.panels),
    panels: Math.max(ofFactor.panels, ofTriangle.slices),
    unchecked: 4 * batches * n,
    residual: refine > 0 ? b.size * bytesOf(wide) : 0,
    correction: refine > 0 ? b.size * bytesOf(wide) : 0,
  };
  return withMemory(bytes, ({ slices, panels, unchecked, residual, correction }) => {
    const places = { a: address(factor), status: unchecked, slices: panels, panels: slices };
    const solveInto = (right: number, to: number) => [
      triangleJob(matrices, columns, LOWER, { ...places, b: right, out: to }, threads),
      triangleJob(matrices, columns, TRANSPOSED, { ...places, b: to, out: to }, threads),
    ];
    const pairs = batches * Math.ceil(n / 2);
    const pairsOfTask = Math.ceil(pairs / (TASKS_PER_THREAD * threads));
    const tasks = Math.ceil(pairs / pairsOfTask);
    const params = ResidualParams({
      n,
      columns,
      batches,
      wide,
      pairsOfTask,
      a: address(a),
      b: address(b),
      x: address(out),
      residual,
      correction,
    });
    const refining = (kernel: string, operations: number): Job => ({
      phases: [{ kernel, tasks }],
      params,
      microseconds: operations / ELEMENTS_PER_MICROSECOND,
    });
    const corrections = Array.from({ length: refine }, () => [
      refining('residual', n * b.size),
      ...solveInto(residual, correction),
      refining('correct', b.size),
    ]);
    const ofFactorPlaces = { a: address(a), out: address(factor), status: address(status), slices, panels };
    return [
      ...factorJobs(matrices, ofFactorPlaces, threads),
      ...solveInto(address(b), address(out)),
      ...corrections.flat(),
    ];
  });
}

/** A kernel of a matrix a task, whose working memory is so many float64 numbers for each. */
function densePlan(
  kernel: string,
  a: Tensor,
  numbers: number,
  flops: number,
  { others = 0, ...places }: Partial<Record<'others' | 'b' | 'first' | 'second' | 'third' | 'status', number>>,
): Plan {
  const [rows, columns] = a.shape.slice(-2) as [number, number];
  const batches = sizeOf(a.shape.slice(0, -2));
  const bytes = 8 * numbers;
  return withMemory({ memory: batches * bytes }, ({ memory }) => [
    {
      phases: [{ kernel, tasks: batches }],
      params: DenseParams({
        ...{ b: 0, first: 0, second: 0, third: 0, status: 0 },
        ...places,
        ...{ rows, columns, others, wide: a.dtype === 'f64', a: address(a), memory, bytes },
      }),
      microseconds: (batches * flops * UNBLOCKED) / FLOPS_PER_MICROSECOND,
    },
  ]);
}

export function planLu({ a, b, out, log, sign, status }: LuCall): Plan {
  const n = a.shape.at(-1) as number;
  const others = b?.shape.at(-1) ?? 0;
  return densePlan('lu', a, n * (n + others), (2 / 3) * n ** 3 + 2 * n * n * others, {
    others,
    b: address(b),
    first: address(out),
    second: address(log),
    third: address(sign),
    status: address(status),
  });
}

export function planQr({ a, q, r }: QrCall): Plan {
  const [m, n] = a.shape.slice(-2) as [number, number];
  const k = Math.min(m, n);
  const numbers = m * n + 2 * m * k + Math.max(n, k);
  return densePlan('qr', a, numbers, 4 * m * n * k, { first: address(q), second: address(r) });
}

export function planEigh({ a, values, vectors, status }: EighCall): Plan {
  const n = a.shape.at(-1) as number;
  const places = { first: address(values), second: address(vectors), status: address(status) };
  return densePlan('eigh', a, 2 * n * n + 3 * n, 14 * n ** 3, places);
}

export function planSvd({ a, u, s, v, status }: SvdCall): Plan {
  const [m, n] = a.shape.slice(-2) as [number, number];
  const k = Math.min(m, n);
  const places = { first: address(u), second: address(s), third: address(v), status: address(status) };
  return densePlan('svd', a, 2 * m * n + k * k + 2 * k, 60 * m * n * k, places);
}
