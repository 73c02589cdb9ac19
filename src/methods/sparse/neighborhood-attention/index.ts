/**
 * Neighborhood attention: each token of a grid of one to three axes sees the window of tokens nearest to it. At the
 * borders windows are moved into the grid, so that every query sees equally many keys.
 * Source: Hassani, Hwu and Shi 2024, arXiv 2403.04690 (fused, multi-dimensional tiles; dilation; causal axes). Even
 * windows: the authors' code, NATTEN, since version 0.17.5.
 */
import * as valibot from 'valibot';
import { gridOf } from '../../../tensor/shape';
import { defineMaskedMethod } from '../../masked';
import { isCausal, neighborhoodMask, neighborhoodParams, someWindows } from './params';
import { sees } from './reference';

export const neighborhoodAttention = defineMaskedMethod({
  name: 'neighborhood-attention',
  short: 'NA',
  family: 'sparse',
  summary: 'exact attention of each token of a grid to the window of tokens nearest to it',
  paper: '2403.04690',
  inputs: { q: 'b ...space h d', k: 'b ...space g d', v: 'b ...space g e' },
  params: valibot.strictObject(neighborhoodParams),
  isCausal,
  mask: (params, { grid }) => neighborhoodMask(params, grid),
  sees,
  variants: (letters) => someWindows(gridOf(letters)).map((window) => ({ window })),
  leads: 3,
  page: () => import('./page'),
});
