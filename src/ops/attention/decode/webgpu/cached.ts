/** Attention of few queries of each row to what a layer of a cache holds of it: dispatches for rows of equal extents together. */
import { groupBy } from '../../../../group-by';
import type { Mask } from '../../../../masks/mask';
import type { Steps } from '../../../../runtime/turns';
import type { Plan, Workspace } from '../../../../runtime/webgpu/plan';
import { type CachedRow, dtypeOf, type Slab } from '../../../cache/layout';
import { pageIndex, slabNumbers, slabRegion } from '../../../cache/webgpu';
import { tileMap } from '../../block-map/webgpu';
import { scoreCode } from '../../score/webgpu';
import type { CachedCall } from '../cached';
import { DECODE_CUT, decode } from '.';

export function* planCached(call: CachedCall, workspace: Workspace): Steps<Plan> {
  const { q, layout, rows, counts, masks, score: modifier } = call;
  const [, width, h] = q.shape as [number, number, number];
  const g = layout.heads;
  const slabs = slabPages(rows, layout.bytes);
  const alike = groupBy(
    rows.keys(),
    (batch) => `${rows[batch]?.length} ${counts[batch]} ${masks.indexOf(masks[batch] as Mask)}`,
  );
  const pagesOfRow = Math.max(1, ...rows.map(({ pages }) => pages.length));
  const table = new Int32Array(rows.length * (1 + pagesOfRow)).fill(-1);
  table.set([...alike.values()].flat());
  for (const [batch, { pages }] of rows.entries()) {
    for (const [at, page] of pages.entries())
      if (page)
        table[rows.length + batch * pagesOfRow + at] =
          (slabs.get(page.slab) as SlabPages).first + pageIndex(page, layout);
  }
  const operands = { pages: workspace.upload(table) };
  const numbers = { ...slabNumbers(layout), pages_table: rows.length, pages_of_row: pagesOfRow };
  const decoded = [];
  let first = 0;
  for (const batches of alike.values()) {
    const [batch] = batches as [number];
    const [count, length] = [counts[batch] as number, (rows[batch] as CachedRow).length];
    // There is no map without a query.
    const extent = { b: 1, n: Math.max(1, count), m: length, h, g };
    const map = yield* tileMap(masks[batch] as Mask, extent, DECODE_CUT);
    const own = new Set(batches.flatMap((one) => (rows[one] as CachedRow).pages.flatMap((page) => page?.slab ?? [])));
    const shared = { ...numbers, pages_batches: first, map_n: count, slab_first: 0, slab_pages: 0 };
    const dispatches = decode(
      {
        call,
        batches: batches.length,
        g,
        map,
        width,
        score: scoreCode(modifier, extent, 'scores'),
        pages: {
          dtype: dtypeOf(layout),
          shared: { operands, numbers: shared },
          slabs: [...(count > 0 ? own : [])].map((slab) => ({
            operands: { slab: slabRegion(slab, layout) },
            numbers: { slab_first: slabs.get(slab)?.first as number, slab_pages: slabs.get(slab)?.count as number },
          })),
        },
      },
      workspace,
    );
    decoded.push(dispatches);
    first += batches.length;
  }
  // Parts do not wait for each other.
  return { dispatches: [...decoded.flatMap(({ parts }) => parts), ...decoded.map(({ merge }) => merge)] };
}

/** Pages of a slab, and how many the slabs before it have. */
interface SlabPages {
  readonly first: number;
  readonly count: number;
}

function slabPages(rows: readonly CachedRow[], pageBytes: number): Map<Slab, SlabPages> {
  const slabs = new Map<Slab, SlabPages>();
  let first = 0;
  for (const { pages } of rows) {
    for (const page of pages) {
      if (!page || slabs.has(page.slab)) continue;
      const count = (page.slab.memory.size * 4) / pageBytes;
      slabs.set(page.slab, { first, count });
      first += count;
    }
  }
  return slabs;
}
