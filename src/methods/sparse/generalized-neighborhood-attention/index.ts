/**
 * Generalized neighborhood attention: neighborhood attention whose windows move in strides, so that consecutive queries
 * share a window and less of what a tile computes is masked away. Stride 1 is neighborhood attention, a stride of the
 * window's size is attention in blocks.
 * Source: Hassani et al. 2025, arXiv 2504.16922. The tiles of tokens that its simulator would choose are chosen here
 * too, from the grid, the window and the stride.
 */
import * as valibot from 'valibot';
import { gridOf } from '../../../tensor/shape';
import { defineMaskedMethod } from '../../masked';
import { isCausal, neighborhoodMask, neighborhoodParams, someWindows, stride } from '../neighborhood-attention/params';
import { sees } from './reference';

const { window, dilation, causal, scale } = neighborhoodParams;

export const generalizedNeighborhoodAttention = defineMaskedMethod({
  name: 'generalized-neighborhood-attention',
  short: 'GNA',
  family: 'sparse',
  summary: 'exact attention of each token of a grid to a window nearby that consecutive tokens share',
  paper: '2504.16922',
  inputs: { q: 'b ...space h d', k: 'b ...space g d', v: 'b ...space g e' },
  params: valibot.strictObject({ window, stride, dilation, causal, scale }),
  isCausal,
  mask: (params, { grid }) => neighborhoodMask(params, grid),
  sees,
  variants: (letters) =>
    someWindows(gridOf(letters)).flatMap((window) => [
      { window, stride: window.map((extent) => Math.ceil(extent / 2)) },
      { window, stride: window },
    ]),
  page: () => import('./page'),
});
