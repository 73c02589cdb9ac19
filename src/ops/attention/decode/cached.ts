/** Attention of few queries of each row to what a layer of a cache holds of it. */
import type { Mask } from '../../../masks/mask';
import type { Machine, Plan } from '../../../runtime/cpu/plan';
import type { Steps } from '../../../runtime/turns';
import type { Score } from '../../../scores/score';
import type { Tensor } from '../../../tensor/tensor';
import { addressOf } from '../../cache';
import type { CachedRow, PageLayout } from '../../cache/layout';
import { PAGE_ROWS } from '../../cache/params';
import { blockMapSteps } from '../block-map/cpu';
import { keyProgram } from '../score/cpu';
import { type DecodeRow, GROUP, planDecode } from './cpu';

/** The last `counts[r]` tokens of each row are the first queries of q [b,n,h,d] in it -> out [b,n,h,e], lse [b,n,h] f32. */
export interface CachedCall {
  readonly q: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly scale: number;
  readonly layout: PageLayout;
  readonly rows: readonly CachedRow[];
  readonly counts: readonly number[];
  /** That of each row, over its tokens, whatever is evicted. */
  readonly masks: readonly Mask[];
  readonly score?: Score | undefined;
}

export function* planCached(call: CachedCall, machine: Machine, queriesOfGroup = GROUP): Steps<Plan> {
  const { q, layout, rows: held, counts, masks, score } = call;
  const [b, n, h] = q.shape as [number, number, number];
  const { heads: g, d, e, dtype, keyRow, valueRow, values, keyScales, valueScales } = layout;
  const rows: DecodeRow[] = [];
  for (const [batch, { length }] of held.entries()) {
    const extent = { b: 1, n: counts[batch] as number, m: length, h, g };
    const map = yield* blockMapSteps(masks[batch] as Mask, extent);
    rows.push({ queries: extent.n, keys: length, map, first: 0, program: keyProgram(score, extent) });
  }
  const pagesOfRow = Math.max(1, ...held.map(({ pages }) => pages.length));
  const addresses = new Int32Array(b * pagesOfRow);
  for (const [batch, { pages }] of held.entries())
    for (const [at, page] of pages.entries()) if (page) addresses[batch * pagesOfRow + at] = addressOf(page);
  const inPage = (address: number, row: number) => ({
    address,
    dtype,
    batch: 0,
    row,
    head: PAGE_ROWS * row,
    element: 1,
  });
  const decoded = {
    extents: { b, n, h, g, d, e },
    k: inPage(0, keyRow),
    v: inPage(values, valueRow),
    rows,
    pages: { addresses, numbers: { pagesOfRow, pageRows: PAGE_ROWS, keyScales, valueScales } },
    queriesOfGroup,
  };
  return planDecode(call, decoded, machine);
}
