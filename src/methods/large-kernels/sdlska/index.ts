/**
 * Sparse decomposed large separable kernel attention: strips across and down, chosen by channel and place, gate a picture.
 * Sources: Huang et al. 2025, arXiv 2508.07300, and the authors' code.
 */
import * as valibot from 'valibot';
import { ShapeError } from '../../../errors';
import { batchNorm } from '../../../ops/batch-norm';
import { type ConvOptions, conv } from '../../../ops/conv';
import { concat } from '../../../ops/copy';
import { add, multiply, relu, sigmoid } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { max, mean } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { checkShapes } from '../check';
import { BRANCHES, INPUTS, KERNELS, type NominalKernel } from './kernels';
import { reference } from './reference';

const kernel = valibot.pipe(
  valibot.picklist(Object.keys(KERNELS).map(Number) as unknown as readonly [7, 11, 23, 35]),
  valibot.description('places that a strip and the small kernel before it see'),
);

export const sdlska = defineMethod({
  name: 'sdlska',
  family: 'large-kernels',
  summary: 'a picture gated by strips across and down it, which each place and channel weighs',
  paper: '2508.07300',
  inputs: INPUTS,
  outputs: { out: 'b c rows columns' },
  params: valibot.strictObject({ kernel }),
  constants: Object.keys(INPUTS).filter((name) => /running/.test(name)),
  isCausal: () => false,
  needsTraining: true,

  reference,

  forward(inputs, params, control = {}) {
    checkShapes(sdlska.name, INPUTS, { ...inputs });
    const given = inputs as Readonly<Record<string, Tensor>>;
    checkKernels(given, params.kernel);
    const { x } = given as { readonly x: Tensor };
    return x.runtime.scope(() => {
      const gate = conv(selected(given, params.kernel, control), ...layerOf(given, 'pwconv.pwconv', control));
      return { out: multiply(gate, x) };
    });
  },

  cost(letters) {
    const { b, c, rows, columns, p, t, r } = letters as Record<
      'b' | 'c' | 'rows' | 'columns' | 'p' | 't' | 'r',
      number
    >;
    const places = b * rows * columns;
    const stages = b * 4 * c * r + b * 9 * (r + 3 * c);
    const weights = c * (p * p + 2 * t + c) + 4 * c * r + 9 * (r + 3 * c) + 294;
    return {
      flops: places * (2 * c * (p * p + 2 * t + c) + 588 + 13 * c) + 2 * stages,
      bytes: 4 * (2 * places * c + weights),
      state: 0,
    };
  },

  variants: () => [{ kernel: 23 }],
  page: () => import('./page'),
});

/** The weight of a layer, and the options with its bias. */
function layerOf(inputs: Readonly<Record<string, Tensor>>, name: string, options: ConvOptions) {
  const bias = inputs[`${name}.bias`] as Tensor;
  return [inputs[`${name}.weight`] as Tensor, { ...options, bias, channelsFirst: true }] as const;
}

/** The small convolution and both strips of it, added up as the kernel selection weighs them. */
function selected(inputs: Readonly<Record<string, Tensor>>, nominal: NominalKernel, control: Control): Tensor {
  const x = inputs.x as Tensor;
  const [b, c] = x.shape as [number, number];
  const byChannel = { ...control, groups: c, padding: 'same' } as const;
  const strip = { ...byChannel, dilation: KERNELS[nominal].dilation };
  const small = conv(x, ...layerOf(inputs, 'DW_conv.dwconv', byChannel));
  const across = conv(small, ...layerOf(inputs, 'DW_D_conv_h.dwconv', strip));
  const down = conv(small, ...layerOf(inputs, 'DW_D_conv_v.dwconv', strip));
  const all = map((s, h, v) => s + h + v, small, across, down, control);

  const stage = (y: Tensor, name: string) => {
    const mixed = conv(y, ...layerOf(inputs, `FS_kernel.${name}.0.pwconv`, control));
    const groups = mixed.shape[1] as number;
    const near = conv(mixed, ...layerOf(inputs, `FS_kernel.${name}.1.dwconv`, { ...byChannel, groups }));
    const of = (each: string) => inputs[`FS_kernel.${name}.2.${each}`] as Tensor;
    const statistics = { mean: of('running_mean'), variance: of('running_var') };
    const { out } = batchNorm(near.reshape([b, groups]), of('weight'), of('bias'), { statistics, ...control });
    return relu(out).reshape([b, groups, 1, 1]);
  };
  const hidden = stage(mean(all, { axes: [2, 3] }).reshape([b, c, 1, 1]), 'fc_reduce');
  const flat = [b, 1, ...x.shape.slice(2)];
  const summary = concat([mean(all, { axes: [1] }).reshape(flat), max(all, { axes: [1] }).reshape(flat)], 1);
  const places = sigmoid(conv(summary, ...layerOf(inputs, 'FS_kernel.conv_squeeze', { ...control, padding: 'same' })));
  const parts = [small, across, down].map((branch, which) => {
    const gate = sigmoid(stage(hidden, `fc_expand_${BRANCHES[which]}`));
    return map((y, channel, place) => y * channel * place, branch, gate, places.slice(1, which, which + 1), control);
  }) as [Tensor, Tensor, Tensor];
  return add(add(parts[0], parts[1]), parts[2]);
}

function checkKernels(inputs: Readonly<Record<string, Tensor>>, nominal: NominalKernel): void {
  const { small, strip } = KERNELS[nominal];
  const expected = { 'DW_conv.dwconv.weight': [small, small], 'DW_D_conv_h.dwconv.weight': [1, strip] };
  for (const [name, space] of Object.entries(expected)) {
    const { shape } = inputs[name] as Tensor;
    if (shape.slice(2).some((extent, axis) => extent !== space[axis]))
      throw new ShapeError(
        `${name} must have shape [c, 1, ${space.join(', ')}] with kernel ${nominal}, got ${formatShape(shape)}`,
      );
  }
}
