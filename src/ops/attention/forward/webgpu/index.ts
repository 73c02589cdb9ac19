/** Attention's forward pass: which kernel takes a call, and how its queries and keys are cut. */

import type { Steps } from '../../../../runtime/turns';
import { variants } from '../../../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../../../runtime/webgpu/plan';
import { type TileCut, tileMap } from '../../block-map/webgpu';
import type { AttentionCall } from '../../call';
import { DECODE_CUT, decode } from '../../decode/webgpu';
import { scoreCode } from '../../score/webgpu';
import { type AttentionVariant, attentionDispatch } from '../../webgpu/common';
import { type AttentionSizes, type RowsSizes, sizesOf, type TiledSizes } from '../../webgpu/sizes';
import { carefulKernel } from './careful';
import { rowsCut, rowsKernel } from './rows';
import { fitted, tiledCut, tiledKernel } from './tiled';

const tiledKernels = variants((x: { variant: AttentionVariant; sizes: TiledSizes; e: number }) =>
  tiledKernel(x.variant, x.sizes, x.e),
);
const rowsKernels = variants((x: { variant: AttentionVariant; sizes: RowsSizes; d: number; e: number }) =>
  rowsKernel(x.variant, x.sizes, x.d, x.e),
);

/** Head dimensions that a pipeline is compiled for: few, as each costs a compilation. */
const WIDTHS = [32, 64, 128, 256];
const WIDEST = 256;

const widthOf = (extent: number) => WIDTHS.find((width) => extent <= width) as number;

/** Those for these sizes: one for all small problems, of which there are many shapes. */
export const widthsOf = ({ below }: AttentionSizes, d: number, e: number) =>
  below ? { d: WIDEST, e: WIDEST } : { d: widthOf(d), e: widthOf(e) };

/**
 * What the careful kernel takes where all rows are marked is up to 32 times what a fast one takes. Since hardly ever any is,
 * it is not cut as finely: its submissions may take over a second then, still less than what a driver takes for a hang.
 */
const CAREFUL = 2;

/** So few queries leave most of a tile empty. */
const FEW = 8;

export function* planAttention(call: AttentionCall, workspace: Workspace): Steps<Plan> {
  const [b, n, h, d] = call.q.shape as [number, number, number, number];
  const [, m, g, e] = call.v.shape as [number, number, number, number];
  const extent = { b, n, m, h, g };
  const { device } = workspace;
  const { attention } = sizesOf(device);
  const { maxComputeWorkgroupStorageSize } = device.limits;
  const score = scoreCode(call.score, extent, 'scores');
  const withMap = function* (cut: TileCut) {
    const map = yield* tileMap(call.mask, extent, cut);
    const variant: AttentionVariant = { cut, score: score.shader, isModified: call.score !== undefined };
    const every = attentionDispatch(carefulKernel(variant), call, map, score, workspace);
    const careful = { ...every, operations: CAREFUL * every.operations, usual: b * n * h };
    return { map, variant, careful };
  };
  if (n <= FEW) {
    const map = yield* tileMap(call.mask, extent, DECODE_CUT);
    const width = call.mask.arrange?.(extent) ? DECODE_CUT.queries : n;
    const { parts, merge } = decode({ call, batches: b, g, map, score, width }, workspace);
    return { dispatches: [...parts, merge] };
  }
  const operations = 2 * (d + e) * b * h * n * m;
  const sizes = attention.find(({ below = Number.POSITIVE_INFINITY }) => operations < below) as AttentionSizes;
  if ('tiled' in sizes) {
    const width = widthOf(e);
    const tiled = fitted(sizes.tiled, width, maxComputeWorkgroupStorageSize);
    const { map, variant, careful } = yield* withMap(tiledCut(tiled));
    const kernel = tiledKernels({ variant, sizes: tiled, e: width });
    return { dispatches: [attentionDispatch(kernel, call, map, score, workspace), careful] };
  }
  const { map, variant, careful } = yield* withMap(rowsCut(sizes.rows));
  const kernel = rowsKernels({ variant, sizes: sizes.rows, ...widthsOf(sizes, d, e) });
  return { dispatches: [attentionDispatch(kernel, call, map, score, workspace), careful] };
}
