/**
 * Grouped softmax attention of Landmark attention: the last token of each block is its landmark. A query weighs the tokens of its own
 * block and the landmarks before it by one softmax, and shares a landmark's weight out among the tokens of its block by another.
 * Letters: b batch, n tokens, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { UnsupportedError } from '../../errors';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { defineOp, f32, floats, group, type OptionsOf, whole } from '../define';
import { checkHeads, gradients, largestHead, STRIDED, scale } from '../heads';
import { landmarkBlocks } from './blocks';
import { planLandmarks, planLandmarksBackward } from './cpu';
import { kernels, MOST_BLOCK } from './params.generated';

const inputs = { q: floats('b n h d', STRIDED), k: floats('b n g d', STRIDED), v: floats('b n g e', STRIDED) };

/** Tokens of a block, without the landmark behind them. */
const block = whole({ least: 1, most: MOST_BLOCK });

const onGpu = async (): Promise<never> => {
  throw new UnsupportedError('grouped softmax has no kernel for a GPU');
};

const landmarkAttentionBackwardOp = defineOp({
  name: 'landmarkAttentionBackward',
  inputs: {
    ...inputs,
    block,
    gradients: group({ out: floats('b n h e', STRIDED), lse: f32('b n h'), gradOut: floats('b n h e', STRIDED) }, {}),
  },
  options: { scale },
  results: {
    ...gradients,
    gradK: floats('b n g d', { like: 'k', fresh: true }),
    gradV: floats('b n g e', { like: 'v', fresh: true }),
  },
  largest: largestHead,
  fits: checkHeads,
  more: ({ gradients, block }) => ({ ...gradients, mask: landmarkBlocks(block) }),
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planLandmarksBackward,
  webgpu: onGpu,
});

const landmarkAttentionOp = defineOp({
  name: 'landmarkAttention',
  inputs: { ...inputs, block },
  options: { scale },
  results: { out: floats('b n h e', { like: 'q' }), lse: f32('b n h', { fresh: true }) },
  largest: largestHead,
  fits: checkHeads,
  more: ({ block }) => ({ mask: landmarkBlocks(block) }),
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planLandmarks,
  webgpu: onGpu,
  derivative: ({ block, scale }): Derivative => ({
    saves: ['q', 'k', 'v', 'out', 'lse'],
    gradients(saved, { out: gradOut }, _, control) {
      const { q, k, v, out, lse } = saved as Record<'q' | 'k' | 'v' | 'out' | 'lse', Tensor>;
      const gradients = { out, lse, gradOut: gradOut as Tensor };
      const { gradQ, gradK, gradV } = landmarkAttentionBackwardOp({ q, k, v, block, gradients } as never, {
        scale,
        ...control,
      });
      return { q: gradQ, k: gradK, v: gradV };
    },
  }),
});

/** Whether the kernels take blocks of so many tokens on the runtime of a tensor. */
export const isGroupedHere = ({ runtime }: Tensor, block: number): boolean =>
  block <= MOST_BLOCK && runtime.backend.name !== 'webgpu';

/**
 * Grouped softmax of q [b, n, h, d], k [b, n, g, d], v [b, n, g, e] whose every (block + 1)-th token is a landmark -> [b, n, h, e], in
 * O(n) memory. Not on a GPU. Recorded by tapes.
 */
export function landmarkAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  block: number,
  options?: OptionsOf<typeof landmarkAttentionOp>,
): Tensor {
  const { out, lse } = landmarkAttentionOp({ q, k, v, block }, options);
  // Only the tape keeps it.
  lse.dispose();
  return out;
}
