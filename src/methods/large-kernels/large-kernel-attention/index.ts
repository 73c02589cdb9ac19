/**
 * Large kernel attention: a large convolution, in three parts, gates its own input.
 * Sources: Guo et al. 2023, arXiv 2202.09741, equations 1 and 2; paddings as in the authors' code.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { conv } from '../../../ops/conv';
import { multiply } from '../../../ops/map';
import type { Control } from '../../../runtime/backend';
import { controlOf } from '../../../runtime/guard';
import { formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { whole } from '../../schema';
import { checkShapes } from '../check';
import { type LargeKernelInputs, reference } from './reference';

export const largeKernelAttention = defineMethod({
  name: 'large-kernel-attention',
  family: 'large-kernels',
  summary: 'a picture gated by a large convolution of itself, made of three cheap ones',
  paper: '2202.09741',
  inputs: {
    x: 'b c rows columns',
    'conv0.weight': 'c 1 u v',
    'conv0.bias': 'c',
    'conv_spatial.weight': 'c 1 s t',
    'conv_spatial.bias': 'c',
    'conv1.weight': 'c c 1 1',
    'conv1.bias': 'c',
  },
  outputs: { out: 'b c rows columns' },
  params: valibot.strictObject({
    dilation: whole('distance between the taps of conv_spatial', { least: 1, preset: 3 }),
  }),
  isCausal: () => false,
  needsTraining: true,

  reference,

  forward(inputs: LargeKernelInputs<Tensor>, { dilation }, control: Control = {}) {
    checkShapes(largeKernelAttention.name, largeKernelAttention.inputs, { ...inputs });
    const { x } = inputs;
    checkEven(inputs['conv0.weight'], 1, 'conv0.weight');
    checkEven(inputs['conv_spatial.weight'], dilation, 'conv_spatial.weight');
    return x.runtime.scope(() => {
      const options = { groups: x.shape[1] as number, padding: 'same', channelsFirst: true } as const;
      const part = (index: number) => controlOf(control, index, 3);
      const near = conv(x, inputs['conv0.weight'], { ...options, bias: inputs['conv0.bias'], ...part(0) });
      const far = conv(near, inputs['conv_spatial.weight'], {
        ...options,
        bias: inputs['conv_spatial.bias'],
        dilation,
        ...part(1),
      });
      const gate = conv(far, inputs['conv1.weight'], { bias: inputs['conv1.bias'], channelsFirst: true, ...part(2) });
      return { out: multiply(gate, x) };
    });
  },

  cost({ b, c, rows, columns, u, v, s, t }) {
    const weights = c * (u * v + s * t + c);
    return {
      flops: b * rows * columns * (2 * weights + c),
      bytes: 4 * (2 * b * c * rows * columns + weights + 3 * c),
      state: 0,
    };
  },

  variants: () => [{}],
  page: () => import('./page'),
});

/** Throws unless half of what a kernel reaches beyond its first tap, on either side, leaves as many results as places. */
function checkEven({ shape }: Tensor, dilation: number, name: string): void {
  if (shape.slice(2).some((extent) => ((extent - 1) * dilation) % 2 !== 0))
    throw new ParameterError(
      `${name} must reach as far to both sides: (extent - 1) * dilation must be even, got ${formatShape(shape)} with dilation ${dilation}`,
    );
}
