/** Attention's forward pass: which kernel takes a call, and how its queries and keys are cut. */
import type { AttentionCall } from '../../backend';
import { variants } from '../kernel';
import type { Plan, Workspace } from '../queue';
import { sizesOf } from '../sizes';
import { tileMap } from '../tile-map';
import { carefulKernel } from './attention-careful';
import { type AttentionVariant, attentionDispatch } from './attention-common';
import { type TiledSizes, tiledKernel } from './attention-tiled';
import { scoreCode } from './score';

const tiled = variants(({ variant, sizes, e }: { variant: AttentionVariant; sizes: TiledSizes; e: number }) =>
  tiledKernel(variant, sizes, e),
);

export function planAttention(call: AttentionCall, workspace: Workspace): Plan {
  const [b, n, h] = call.q.shape as [number, number, number];
  const [, m, g, e] = call.v.shape as [number, number, number, number];
  const extent = { b, n, m, h, g };
  const sizes = sizesOf(workspace.device).attention;
  const cut = { queries: sizes.queries, keys: sizes.keys };
  const map = tileMap(call.mask, extent, cut);
  const score = scoreCode(call.score, extent, 'scores');
  const variant: AttentionVariant = { cut, score: score.shader, isModified: call.score !== undefined };
  const fast = attentionDispatch(tiled({ variant, sizes, e: Math.ceil(e / 32) * 32 }), call, map, score, workspace);
  const careful = attentionDispatch(carefulKernel(variant), call, map, score, workspace);
  return { dispatches: [fast, { ...careful, operations: b * n * h }] };
}
