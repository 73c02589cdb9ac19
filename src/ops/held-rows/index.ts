/** Rows of tokens whose elements are held until they have moved by more than a threshold. */

import type { Control } from '../../runtime/backend';
import { ELEMENTS_PER_MICROSECOND } from '../../runtime/cpu/plan';
import type { Tensor } from '../../tensor/tensor';
import { defineOp, f32 } from '../define';
import { HeldRowsParams, kernels } from './params.generated';

const heldRowsOp = defineOp({
  name: 'heldRows',
  inputs: { x: f32('b n h d'), thresholds: f32('h') },
  results: { held: f32('b n h d', { fresh: true }), share: f32('b h', { fresh: true }) },
  operations: '3 b n h d',
  reference: async () => (await import('./reference')).heldRows,
  kernels,
  cpu({ x, thresholds, held, share }) {
    const [b, n, h, d] = x.shape as [number, number, number, number];
    const params = HeldRowsParams({ b, n, h, d, x, thresholds, held, share });
    const microseconds = x.size / ELEMENTS_PER_MICROSECOND;
    return { jobs: () => [{ phases: [{ kernel: 'heldRows', tasks: b * h }], params, microseconds }] };
  },
  webgpu: async () => (await import('./webgpu')).planHeldRows,
});

/**
 * x [b,n,h,d] -> held [b,n,h,d]: an element is that of the token before, unless x is further from it than the threshold of its
 * head, and then it is x; the first token is as it came. So no element is further from x than the threshold. share [b,h] is that of
 * the differences between neighbours that are 0, with the first token's own numbers as its differences. f32, contiguous.
 */
export const heldRows = (x: Tensor, thresholds: Tensor, control?: Control): Record<'held' | 'share', Tensor<'f32'>> =>
  heldRowsOp({ x, thresholds }, control);
