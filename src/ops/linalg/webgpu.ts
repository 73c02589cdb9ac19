/** Cholesky factors and triangular systems on a GPU: a workgroup for each matrix, a lane for each right-hand side. */
import type { Kernel, Region } from '../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { sizeOf } from '../../tensor/shape';
import type { CholeskyCall, CholeskySolveCall, TriangularCall } from './call';
import { ASYMMETRIC, BAD_PIVOT, NOT_FINITE } from './params.generated';

const LANES = 64;

const choleskyKernel: Kernel = {
  name: 'cholesky',
  invocations: LANES,
  operands: { a: { access: 'read' }, out: { access: 'update' }, status: { access: 'update' } },
  numbers: { n: 'u32' },
  body: `
var<workgroup> pivot: f32;
fn run(task: u32, lane: u32) {
  let n = numbers.n;
  let base = task * n * n;
  for (var i = lane; i < n; i += ${LANES}) {
    var state = 0;
    for (var j = 0u; j < n; j++) {
      let x = load_a(base + i * n + j);
      if (!(abs(x) < numbers.infinity)) { state = ${NOT_FINITE}; }
      if (j < i) {
        let y = load_a(base + j * n + i);
        let beside = sqrt(abs(load_a(base + i * n + i) * load_a(base + j * n + j)));
        if (abs(x - y) > 1e-3 * max(abs(x), abs(y)) + 1e-5 * beside) { state = max(state, ${ASYMMETRIC}); }
      }
      store_out(base + i * n + j, select(0.0, x, j <= i));
    }
    store_status(task * n + i, state);
  }
  for (var k = 0u; k < n; k++) {
    storageBarrier();
    workgroupBarrier();
    if (lane == 0) {
      let value = load_out(base + k * n + k);
      let is_good = value > 0.0 && value < numbers.infinity;
      if (!is_good && load_status(task * n + k) == 0) { store_status(task * n + k, ${BAD_PIVOT}); }
      pivot = sqrt(select(1.0, value, is_good));
      store_out(base + k * n + k, pivot);
    }
    workgroupBarrier();
    for (var i = k + 1 + lane; i < n; i += ${LANES}) { store_out(base + i * n + k, load_out(base + i * n + k) / pivot); }
    storageBarrier();
    workgroupBarrier();
    for (var i = k + 1 + lane; i < n; i += ${LANES}) {
      let factor = load_out(base + i * n + k);
      for (var j = k + 1; j <= i; j++) {
        store_out(base + i * n + j, load_out(base + i * n + j) - factor * load_out(base + j * n + k));
      }
    }
  }
}`,
};

export function planCholesky({ a, out, status }: CholeskyCall): Plan {
  const n = a.shape.at(-1) as number;
  const tasks = a.size / n ** 2;
  return {
    dispatches: [
      { kernel: choleskyKernel, operands: { a, out, status }, numbers: { n }, tasks, operations: tasks * n ** 3 },
    ],
  };
}

const triangularKernel: Kernel = {
  name: 'triangular solve',
  invocations: LANES,
  operands: {
    a: { access: 'read' },
    b: { access: 'read' },
    out: { access: 'update' },
    status: { access: 'write' },
  },
  numbers: { n: 'u32', columns: 'u32', groups: 'u32', backwards: 'u32', transposed: 'u32', unit: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let n = numbers.n;
  let batch = task / numbers.groups;
  let column = task % numbers.groups * ${LANES} + lane;
  let base = batch * n * n;
  let first = batch * n * numbers.columns + column;
  for (var k = 0u; k < n; k++) {
    let i = select(k, n - 1 - k, numbers.backwards == 1);
    let diagonal = load_a(base + i * n + i);
    let is_good = numbers.unit == 1 || (abs(diagonal) > 0.0 && abs(diagonal) < numbers.infinity);
    if (task % numbers.groups == 0 && lane == 0) { store_status(batch * n + i, select(${BAD_PIVOT}, 0, is_good)); }
    if (column >= numbers.columns) { continue; }
    var sum = load_b(first + i * numbers.columns);
    for (var l = 0u; l < k; l++) {
      let j = select(l, n - 1 - l, numbers.backwards == 1);
      let place = select(i * n + j, j * n + i, numbers.transposed == 1);
      sum -= load_a(base + place) * load_out(first + j * numbers.columns);
    }
    store_out(first + i * numbers.columns, select(sum / diagonal, sum, numbers.unit == 1));
  }
}`,
};

type Regions<Call, Names extends keyof Call> = Omit<Call, Names> & Readonly<Record<Names, Region>>;

export function planTriangularSolve(call: Regions<TriangularCall, 'a' | 'b' | 'out' | 'status'>): Plan {
  const { a, b, upper, transpose, unit, out, status } = call;
  const [n, columns] = b.shape.slice(-2) as [number, number];
  const groups = Math.ceil(columns / LANES);
  const tasks = (sizeOf(a.shape) / n ** 2) * groups;
  const numbers = {
    n,
    columns,
    groups,
    backwards: Number(upper !== transpose),
    transposed: Number(transpose),
    unit: Number(unit),
  };
  return {
    dispatches: [
      { kernel: triangularKernel, operands: { a, b, out, status }, numbers, tasks, operations: n * sizeOf(b.shape) },
    ],
  };
}

/** Sums are in f32 here, so that corrections would gain nothing. */
export function planCholeskySolve({ a, b, out, factor, status }: CholeskySolveCall, workspace: Workspace): Plan {
  const [between, unchecked] = [workspace.scratch(b.shape), workspace.scratch(status.shape, 'i32')];
  const half = { a: factor, upper: false, unit: false, status: unchecked };
  return {
    dispatches: [
      ...planCholesky({ a, out: factor, status }).dispatches,
      ...planTriangularSolve({ ...half, b, transpose: false, out: between }).dispatches,
      ...planTriangularSolve({ ...half, b: between, transpose: true, out }).dispatches,
    ],
  };
}
