/** A lane for each pair of points, or for each coordinate of a gradient. */
import { type Kernel, u32s } from '../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { once } from '../map/function';
import { elementwise } from '../map/map';
import { planMatmul, transposed } from '../matmul/webgpu';
import type { DistancesCall, SignSumsCall } from './reference';

const LANES = 64;

const numbers = u32s('rows', 'columns', 'terms', 'squared', 'exponential');

const distancesKernel: Kernel = {
  name: 'distances',
  invocations: LANES,
  operands: { x: { access: 'read' }, y: { access: 'read' }, out: { access: 'write' } },
  numbers,
  body: `
fn run(task: u32, lane: u32) {
  let place = task * ${LANES} + lane;
  if (place >= numbers.rows * numbers.columns) { return; }
  let i = place / numbers.columns * numbers.terms;
  let j = place % numbers.columns * numbers.terms;
  var sum = 0.0;
  for (var k = 0u; k < numbers.terms; k++) {
    let difference = load_x(i + k) - load_y(j + k);
    sum += select(abs(difference), difference * difference, numbers.squared == 1);
  }
  store_out(place, select(sum, exp(-sum), numbers.exponential == 1));
}`,
};

const signSumsKernel: Kernel = {
  name: 'sums of signs',
  invocations: LANES,
  operands: { x: { access: 'read' }, y: { access: 'read' }, weights: { access: 'read' }, out: { access: 'write' } },
  numbers,
  body: `
fn run(task: u32, lane: u32) {
  let place = task * ${LANES} + lane;
  if (place >= numbers.rows * numbers.terms) { return; }
  let i = place / numbers.terms;
  let k = place % numbers.terms;
  var sum = 0.0;
  for (var j = 0u; j < numbers.columns; j++) {
    sum += load_weights(i * numbers.columns + j) * sign(load_x(place) - load_y(j * numbers.terms + k));
  }
  store_out(place, sum);
}`,
};

export function planDistances({ x, y, norm, out }: DistancesCall): Plan {
  return planOf(distancesKernel, { x, y, out }, { squared: Number(norm === 'squared') });
}

export function planLaplacians({ x, y, out }: Omit<DistancesCall, 'norm'>): Plan {
  return planOf(distancesKernel, { x, y, out }, { exponential: 1 });
}

export function planSignSums({ x, y, weights, out }: SignSumsCall): Plan {
  return planOf(signSumsKernel, { x, y, weights, out });
}

const exponential = once(() => elementwise((t) => Math.exp(Math.min(t, 0))));

export function planExponentials({ x, y, out }: Omit<DistancesCall, 'norm'>, workspace: Workspace): Plan {
  return planMatmul({ a: x, b: transposed(y), out, axes: [], epilogue: exponential() }, workspace);
}

function planOf(
  kernel: Kernel,
  operands: Omit<SignSumsCall, 'weights'> & Partial<SignSumsCall>,
  { squared = 0, exponential = 0 }: Partial<Record<'squared' | 'exponential', number>> = {},
): Plan {
  const { x, y, out } = operands;
  const [rows, terms] = x.shape as [number, number];
  const columns = y.shape[0] as number;
  const tasks = Math.ceil(out.size / LANES);
  const operations = 3 * rows * columns * terms;
  const values = { rows, columns, terms, squared, exponential };
  return { dispatches: [{ kernel, operands: { ...operands }, numbers: values, tasks, operations }] };
}
