/** Attention of few queries of each row to what a layer of a cache holds of it. */
import type { Mask } from '../../masks/mask';
import type { Steps } from '../../runtime/turns';
import type { Machine, Plan } from '../../runtime/wasm/plan';
import type { Score } from '../../scores/score';
import type { Tensor } from '../../tensor/tensor';
import { addressOf } from '../cache';
import type { CachedRow, PageLayout } from '../cache/layout';
import { PAGE_ROWS } from '../cache/params';
import type { Probe } from './call';
import { planDecode } from './decode';
import { keyProgram } from './score-programs';
import { blockMapSteps } from './wasm-map';

/** The last `counts[r]` tokens of each row are the first queries of q [b,n,h,d] in it -> out [b,n,h,e], lse [b,n,h] f32. */
export interface CachedCall {
  readonly q: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly scale: number;
  readonly layout: PageLayout;
  readonly rows: readonly CachedRow[];
  readonly counts: readonly number[];
  /** Over the tokens of a row, whatever is evicted. */
  readonly mask: Mask;
  readonly score?: Score | undefined;
  readonly probe?: Probe | undefined;
}

export function* planCached(call: CachedCall, machine: Machine): Steps<Plan> {
  const { q, layout, rows, counts, mask, score } = call;
  const [b, n, h] = q.shape as [number, number, number];
  const { heads: g, d, e, dtype, keyRow, valueRow, values, keyScales, valueScales } = layout;
  const decoded = [];
  for (const [batch, { length }] of rows.entries()) {
    const extent = { b: 1, n: counts[batch] as number, m: length, h, g };
    const map = yield* blockMapSteps(mask, extent);
    decoded.push({ queries: extent.n, keys: length, map, first: 0, program: keyProgram(score, extent) });
  }
  const pagesOfRow = Math.max(1, ...rows.map(({ pages }) => pages.length));
  const addresses = new Int32Array(b * pagesOfRow);
  for (const [batch, { pages }] of rows.entries())
    for (const [at, page] of pages.entries()) if (page) addresses[batch * pagesOfRow + at] = addressOf(page);
  const rowsOf = (at: number, row: number) => ({
    ...{ address: at, dtype, batch: 0, row, head: PAGE_ROWS * row, element: 1 },
  });
  return planDecode(
    call,
    { b, n, h, g, d, e },
    { k: rowsOf(0, keyRow), v: rowsOf(values, valueRow) },
    decoded,
    machine,
    { addresses, numbers: { pagesOfRow, pageRows: PAGE_ROWS, keyScales, valueScales } },
  );
}
