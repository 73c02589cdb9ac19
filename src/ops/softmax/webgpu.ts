/** Softmax of rows by vectors, or of the columns of other axes, some by each workgroup; and the gradient. */
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { eachOf, overRows, RANKS, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { Tensor } from '../../tensor/tensor';
import type { Extents, SoftmaxCall, SoftmaxGradientCall } from './reference';

const WEIGHTS = 'each_precise_exp(load4_x(i) - most_of_row)';

const rowsKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'softmax of rows',
      team,
      operands: { x: READ, out: WRITE },
      needs: ['precise_exp'],
      head: eachOf('precise_exp'),
      each: (over) => `
  var most = 0u;
  ${over(`let x = kept(load4_x(i), count, -numbers.infinity);
    most = max(max(max(rank_of(x.x), rank_of(x.y)), max(rank_of(x.z), rank_of(x.w))), most);`)}
  let most_of_row = number_of(largest_of(most));
  var sum = 0.0;
  ${over(`sum += total(kept(${WEIGHTS}, count, 0.0));`)}
  let factor = 1.0 / sum_of(vec2f(sum, 0.0)).x;
  ${over(`store4_out(i, ${WEIGHTS} * factor, count);`)}`,
    }),
);

const gradientOfRowsKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'gradient of softmax of rows',
      team,
      operands: { out: READ, gradOut: READ, gradX: WRITE },
      each: (over) => `
  var sum = 0.0;
  ${over('sum += dot(kept(load4_out(i), count, 0.0), kept(load4_gradOut(i), count, 0.0));')}
  let mean = sum_of(vec2f(sum, 0.0)).x;
  ${over('store4_gradX(i, load4_out(i) * (load4_gradOut(i) - mean), count);')}`,
    }),
);

const LANES = 256;
/** Neighbouring columns of a workgroup, each of which has as many lanes. */
const SIDE = 16;

/** `each` with `over`, by which statements are done for each element `i` of a lane's share of its column. */
const columnsKernel = (
  name: string,
  operands: Kernel['operands'],
  head: string,
  each: (over: (statements: string) => string) => string,
): Kernel => ({
  name,
  invocations: LANES,
  operands,
  numbers: { columns: 'u32', n: 'u32', inner: 'u32' },
  body: `
${head}
var<workgroup> sums: array<f32, ${LANES}>;
var<workgroup> ranks: array<u32, ${LANES}>;
fn sum_of(value: f32, lane: u32) -> f32 {
  sums[lane] = value;
  for (var half = ${LANES / 2}u; half >= ${SIDE}; half /= 2) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  workgroupBarrier();
  return sums[lane % ${SIDE}];
}
fn largest_of(value: u32, lane: u32) -> u32 {
  ranks[lane] = value;
  for (var half = ${LANES / 2}u; half >= ${SIDE}; half /= 2) {
    workgroupBarrier();
    if (lane < half) { ranks[lane] = max(ranks[lane], ranks[lane + half]); }
  }
  workgroupBarrier();
  return ranks[lane % ${SIDE}];
}
fn run(task: u32, lane: u32) {
  let column = task * ${SIDE} + lane % ${SIDE};
  let first = column / numbers.inner * numbers.n * numbers.inner + column % numbers.inner;
  // Columns past the last have no rows.
  let rows = select(0u, numbers.n, column < numbers.columns);
  ${each(
    (statements) => `
  for (var row = lane / ${SIDE}; row < rows; row += ${LANES / SIDE}) {
    let i = first + row * numbers.inner;
    ${statements}
  }`,
  )}
}`,
});

const SINGLE = { x: { access: 'read' }, out: { access: 'write' } } as const;

const softmaxOfColumns = columnsKernel(
  'softmax of columns',
  SINGLE,
  `${functions('precise_exp')}\n${RANKS}`,
  (over) => `
  var most = 0u;
  ${over('most = max(most, rank_of(load_x(i)));')}
  let shift = number_of(largest_of(most, lane));
  var sum = 0.0;
  ${over('sum += precise_exp(load_x(i) - shift);')}
  let factor = 1.0 / sum_of(sum, lane);
  ${over('store_out(i, precise_exp(load_x(i) - shift) * factor);')}`,
);

const gradientOfColumns = columnsKernel(
  'gradient of softmax of columns',
  { out: SINGLE.x, gradOut: SINGLE.x, gradX: SINGLE.out },
  '',
  (over) => `
  var sum = 0.0;
  ${over('sum += load_out(i) * load_gradOut(i);')}
  let mean = sum_of(sum, lane);
  ${over('store_gradX(i, load_out(i) * (load_gradOut(i) - mean));')}`,
);

export function planSoftmax({ x, out, ...extents }: SoftmaxCall, workspace: Workspace): Plan {
  return plan(rowsKernel, softmaxOfColumns, { x, out }, extents, workspace);
}

export function planSoftmaxGradient(
  { out, gradOut, gradX, ...extents }: SoftmaxGradientCall,
  workspace: Workspace,
): Plan {
  return plan(gradientOfRowsKernel, gradientOfColumns, { out, gradOut, gradX }, extents, workspace);
}

function plan(
  ofRows: (team: Team) => Kernel,
  ofColumns: Kernel,
  operands: Readonly<Record<string, Tensor>>,
  { outer, n, inner }: Extents,
  workspace: Workspace,
): Plan {
  if (inner === 1) return { dispatches: [overRows(ofRows, n, operands, {}, workspace)] };
  const columns = outer * inner;
  const [tasks, operations] = [Math.ceil(columns / SIDE), 20 * columns * n];
  return { dispatches: [{ kernel: ofColumns, operands, numbers: { columns, n, inner }, tasks, operations }] };
}
