/**
 * Dilated reparam block: a large convolution of each channel beside dilated small ones, which are one kernel in the end.
 * Sources: Ding et al. 2024, arXiv 2311.15599, equation 1; kernels and names as in the authors' code.
 */
import * as valibot from 'valibot';
import { conv } from '../../../ops/conv';
import { defineMethod } from '../../define';
import { checkShapes } from '../check';
import { BRANCHES, INPUTS, type LargeKernel, OPTIONAL } from './branches';
import { mergeDilatedReparam } from './merge';
import { reference } from './reference';

const kernel = valibot.pipe(
  valibot.picklist(Object.keys(BRANCHES).map(Number) as unknown as readonly [5, 7, 9, 11, 13, 15, 17]),
  valibot.description('extent of lk_origin, from which the dilated kernels follow'),
);

export const dilatedReparamConv = defineMethod({
  name: 'dilated-reparam-conv',
  family: 'large-kernels',
  summary: 'a large convolution of each channel beside dilated small ones, merged into one kernel',
  paper: '2311.15599',
  inputs: INPUTS,
  optional: OPTIONAL,
  outputs: { out: 'b c rows columns', 'merged.weight': 'c 1 k k', 'merged.bias': 'c' },
  params: valibot.strictObject({ kernel }),
  constants: [...Object.keys(INPUTS), ...Object.keys(OPTIONAL)].filter((name) => /running/.test(name)),
  isCausal: () => false,
  needsTraining: true,

  reference,

  forward(inputs, params, control = {}) {
    const { x, ...parameters } = inputs as { readonly x: typeof inputs.x } & typeof inputs;
    checkShapes(dilatedReparamConv.name, INPUTS, { ...inputs }, { optional: OPTIONAL });
    const picture = x as NonNullable<typeof x>;
    return picture.runtime.scope(() => {
      const { weight, bias } = mergeDilatedReparam(parameters, params.kernel as LargeKernel);
      const groups = picture.shape[1] as number;
      const out = conv(picture, weight, { bias, groups, padding: 'same', channelsFirst: true, ...control });
      return { out, 'merged.weight': weight, 'merged.bias': bias };
    });
  },

  cost(letters) {
    const { b, c, rows, columns, k } = letters as Record<'b' | 'c' | 'rows' | 'columns' | 'k', number>;
    const small = BRANCHES[k as LargeKernel]?.reduce((sum, { taps }) => sum + taps * taps, 0) ?? 0;
    return {
      flops: 2 * c * (b * rows * columns * k * k + k * k + small),
      bytes: 4 * c * (2 * b * rows * columns + k * k + small),
      state: 0,
    };
  },

  variants: () => [{ kernel: 13 }],
  page: () => import('./page'),
});
