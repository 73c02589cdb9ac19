/**
 * Asymmetric large-kernel convolution: one sequence is the kernel that slides over another.
 * Source: Zhang et al. 2024, arXiv 2410.08049, section 3.4, read channel by channel.
 */
import * as valibot from 'valibot';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice } from '../../schema';
import { checkShapes } from '../check';
import { checkFits, fuse } from './fuse';
import { type FusionInputs, reference } from './reference';

export const asymmetricConvFusion = defineMethod({
  name: 'asymmetric-conv-fusion',
  family: 'large-kernels',
  summary: 'one sequence as the kernel that slides over another, channel by channel',
  paper: '2410.08049',
  inputs: { x: 'b n c', y: 'b m c' },
  outputs: { out: 'b n c' },
  params: valibot.strictObject({
    padding: choice(['same', 'valid'], 'same for as many results as x has rows, valid for n - m + 1', 'same'),
  }),
  isCausal: () => false,
  needsTraining: true,

  reference,

  forward({ x, y }: FusionInputs<Tensor>, { padding }, control: Control = {}) {
    checkShapes(asymmetricConvFusion.name, asymmetricConvFusion.inputs, { x, y });
    checkFits(x, y, padding);
    return x.runtime.scope(() => ({ out: fuse(x, y, padding, control) }));
  },

  cost({ b, n, m, c }, { padding }) {
    const count = padding === 'same' ? n : Math.max(0, n - m + 1);
    return { flops: 2 * b * count * m * c, bytes: 4 * b * c * (n + m + count), state: 0 };
  },

  variants: () => [{}],
  page: () => import('./page'),
});
