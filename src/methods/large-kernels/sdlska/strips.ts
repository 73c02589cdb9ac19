/** Other gates of strips: one after another, and one beside a small kernel. */
import { checkRecord, checkWhole } from '../../../check';
import { conv } from '../../../ops/conv';
import { multiply } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import type { Specs } from '../../define';
import { checkShapes } from '../check';

/** Kernels and their biases, by the layers' names in BEVANet's code. */
export type StripWeights<Layer extends string> = { readonly [Name in `${Layer}.${'weight' | 'bias'}`]: Tensor };

const LSKA = {
  x: 'b c rows columns',
  'DW_conv_h.weight': 'c 1 1 a',
  'DW_conv_h.bias': 'c',
  'DW_conv_v.weight': 'c 1 a 1',
  'DW_conv_v.bias': 'c',
  'DW_D_conv_h.weight': 'c 1 1 t',
  'DW_D_conv_h.bias': 'c',
  'DW_D_conv_v.weight': 'c 1 t 1',
  'DW_D_conv_v.bias': 'c',
  'pwconv.weight': 'c c 1 1',
  'pwconv.bias': 'c',
};
const SLAK = {
  x: 'b c rows columns',
  'small.weight': 'c 1 a a',
  'small.bias': 'c',
  'across.weight': 'c 1 a t',
  'across.bias': 'c',
  'down.weight': 'c 1 t a',
  'down.bias': 'c',
  'pwconv.weight': 'c c 1 1',
  'pwconv.bias': 'c',
};

/**
 * LSKA: x [b, c, rows, columns] gated by strips one after another, 1 × a, a × 1, and two whose taps are `dilation` apart, then a
 * mix of channels. It sees a square of a + (t - 1) dilation places. f32.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 */
export function lska(
  x: Tensor,
  weights: StripWeights<'DW_conv_h' | 'DW_conv_v' | 'DW_D_conv_h' | 'DW_D_conv_v' | 'pwconv'>,
  dilation: number,
  options: Control = {},
): Tensor<'f32'> {
  checkInputs('lska', LSKA, x, weights, options);
  checkWhole('dilation', dilation, 1);
  return x.runtime.scope(() => {
    const byChannel = (y: Tensor, name: 'DW_conv_h' | 'DW_conv_v' | 'DW_D_conv_h' | 'DW_D_conv_v', distance = 1) =>
      conv(y, weights[`${name}.weight`], {
        ...byChannelOf(x),
        bias: weights[`${name}.bias`],
        dilation: distance,
        ...options,
      });
    const near = byChannel(byChannel(x, 'DW_conv_h'), 'DW_conv_v');
    const far = byChannel(byChannel(near, 'DW_D_conv_h', dilation), 'DW_D_conv_v', dilation);
    return gated(x, far, weights, options);
  });
}

/**
 * SLaK's pair of strips: x [b, c, rows, columns] gated by the sum of a small kernel a × a and strips a × t and t × a, then a mix
 * of channels. f32.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 */
export function slak(
  x: Tensor,
  weights: StripWeights<'small' | 'across' | 'down' | 'pwconv'>,
  options: Control = {},
): Tensor<'f32'> {
  checkInputs('slak', SLAK, x, weights, options);
  return x.runtime.scope(() => {
    const [small, across, down] = (['small', 'across', 'down'] as const).map((name) =>
      conv(x, weights[`${name}.weight`], { ...byChannelOf(x), bias: weights[`${name}.bias`], ...options }),
    ) as [Tensor, Tensor, Tensor];
    return gated(
      x,
      map((s, h, v) => s + h + v, small, across, down, options),
      weights,
      options,
    );
  });
}

function checkInputs(name: string, specs: Specs, x: Tensor, weights: object, control: Control): void {
  checkRecord('weights', weights);
  checkShapes(name, specs, { x, ...weights }, { control });
}

const byChannelOf = ({ shape }: Tensor) =>
  ({ groups: shape[1] as number, padding: 'same', channelsFirst: true }) as const;

function gated(x: Tensor, y: Tensor, weights: StripWeights<'pwconv'>, control: Control): Tensor<'f32'> {
  const gate = conv(y, weights['pwconv.weight'], { bias: weights['pwconv.bias'], channelsFirst: true, ...control });
  return multiply(gate, x, control);
}
