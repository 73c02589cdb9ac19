/** Softmax of rows. */
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { eachOf, overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/queue';
import type { SoftmaxCall } from './call';

const WEIGHTS = 'each_precise_exp(load4_x(i) - most_of_row)';

const softmaxKernel = variants(
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

export function planSoftmax({ x, out }: SoftmaxCall, workspace: Workspace): Plan {
  return { dispatches: [overRows(softmaxKernel, x.shape.at(-1) as number, { x, out }, {}, workspace)] };
}
