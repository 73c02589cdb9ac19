/** Softmax, sums and maxima of rows. */
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { eachOf, overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/queue';
import type { Rowwise, RowwiseCall } from './call';

type Over = (statements: string) => string;

const largest = (over: Over) => `
  var most = 0u;
  ${over(`let x = kept(load4_x(i), count, -numbers.infinity);
    most = max(max(max(rank_of(x.x), rank_of(x.y)), max(rank_of(x.z), rank_of(x.w))), most);`)}
  let most_of_row = number_of(largest_of(most));`;

const sum = (over: Over, values: string) => `
  var sum = 0.0;
  ${over(`sum += total(kept(${values}, count, 0.0));`)}
  let sum_of_row = sum_of(vec2f(sum, 0.0)).x;`;

const WEIGHTS = 'each_precise_exp(load4_x(i) - most_of_row)';

const ROWWISE: Readonly<Record<Rowwise, (over: Over) => string>> = {
  softmax: (over) => `
  ${largest(over)}
  ${sum(over, WEIGHTS)}
  let factor = 1.0 / sum_of_row;
  ${over(`store4_out(i, ${WEIGHTS} * factor, count);`)}`,
  sum: (over) => `${sum(over, 'load4_x(i)')}
  if (member == 0) { store_out(row, sum_of_row); }`,
  max: (over) => `${largest(over)}
  if (member == 0) { store_out(row, most_of_row); }`,
};

const rowwiseKernel = variants(
  ({ operation, team }: { operation: Rowwise; team: Team }): Kernel =>
    rowKernel({
      name: `${operation} of rows`,
      team,
      operands: { x: READ, out: operation === 'softmax' ? WRITE : { access: 'write' } },
      ...(operation === 'softmax' ? { needs: ['precise_exp'], head: eachOf('precise_exp') } : {}),
      each: ROWWISE[operation],
    }),
);

export function planRowwise({ operation, x, out }: RowwiseCall, workspace: Workspace): Plan {
  const kernelFor = (team: Team) => rowwiseKernel({ operation, team });
  return { dispatches: [overRows(kernelFor, x.shape.at(-1) as number, { x, out }, {}, workspace)] };
}
