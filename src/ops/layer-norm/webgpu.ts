import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { overRows, READ, rowKernel, type Team, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/queue';
import type { LayerNormCall } from './call';

const layerNormKernel = variants(
  (team: Team): Kernel =>
    rowKernel({
      name: 'layer norm',
      team,
      operands: { x: READ, gain: READ, bias: READ, out: WRITE },
      numbers: { epsilon: 'f32' },
      // The mean's own rounding is found beside the squares, so that constant rows become zeros.
      each: (over) => `
  let extent = f32(numbers.columns);
  var sum = 0.0;
  ${over('sum += total(kept(load4_x(i), count, 0.0));')}
  let about = sum_of(vec2f(sum, 0.0)).x / extent;
  var moments = vec2f(0.0);
  ${over(`let y = kept(load4_x(i) - about, count, 0.0);
    moments += vec2f(total(y), dot(y, y));`)}
  moments = sum_of(moments) / extent;
  let mean = about + moments.x;
  let variance = max(moments.y - moments.x * moments.x, 0.0);
  let factor = 1.0 / sqrt(variance + numbers.epsilon);
  ${over('store4_out(i, (load4_x(i) - mean) * factor * load4_gain(c) + load4_bias(c), count);')}`,
    }),
);

export function planLayerNorm({ x, gain, bias, out, epsilon }: LayerNormCall, workspace: Workspace): Plan {
  return { dispatches: [overRows(layerNormKernel, gain.size, { x, gain, bias, out }, { epsilon }, workspace)] };
}
