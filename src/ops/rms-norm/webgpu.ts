import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/queue';
import type { RmsNormCall } from './call';

const rmsNormKernel = variants(
  ({ isBackward, team }: { isBackward: boolean; team: Team }): Kernel =>
    rowKernel({
      name: isBackward ? 'gradient of rms norm' : 'rms norm',
      team,
      operands: { x: READ, ...(isBackward ? { gradOut: READ } : {}), out: WRITE },
      numbers: { epsilon: 'f32', offset: 'f32' },
      needs: ['not_a_number'],
      // A row of zeros stays one.
      each: (over) => `
  var sums = vec2f(0.0);
  ${over(`let x = kept(load4_x(i), count, 0.0);
    sums += vec2f(dot(x, x), ${isBackward ? 'dot(x, kept(load4_gradOut(i), count, 0.0))' : '0.0'});`)}
  sums = sum_of(sums);
  let extent = f32(numbers.columns);
  let root = sqrt(sums.x / extent + numbers.epsilon);
  let divisor = root + numbers.offset;
  let factor = select(select(0.0, 1.0 / divisor, divisor > 0.0), divisor, is_nan(divisor));
  ${
    isBackward
      ? `let inner = select(0.0, sums.y * factor / (extent * root) * factor, root > 0.0);
  ${over('store4_out(i, load4_gradOut(i) * factor - load4_x(i) * inner, count);')}`
      : over('store4_out(i, load4_x(i) * factor, count);')
  }`,
    }),
);

export function planRmsNorm({ x, gradOut, out, epsilon, offset }: RmsNormCall, workspace: Workspace): Plan {
  const kernelFor = (team: Team) => rmsNormKernel({ isBackward: gradOut !== undefined, team });
  const operands = { x, ...(gradOut ? { gradOut } : {}), out };
  return { dispatches: [overRows(kernelFor, x.shape.at(-1) as number, operands, { epsilon, offset }, workspace)] };
}
