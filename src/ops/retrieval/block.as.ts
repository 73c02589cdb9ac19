/** A look at all keys for consecutive queries of a head, which reads each key once for all of them. */
import { LARGEST_HEAD, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { packPanel, packQuad, rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { product as multiply, STORE } from '../../runtime/wasm/assembly/product.as';
import { loadRow } from '../../runtime/wasm/assembly/storage.as';
import { intAt, keepBest } from './entries.as';
import { COUNTS, LAID_OUT, LEAST, LISTS, LOADED, POINTERS, PRODUCTS, takeProducts } from './nearest.as';
import { BLOCK_PANELS, QUERIES, RetrieveParams } from './params.generated.as';
import { BUFFER, Rows, rowAt } from './rows.as';

export const LOG2E: f64 = 1.4426950408889634;
/** The lists are the caller's. */
const PACKED: usize = LISTS;

/** A query times the scale, in powers of two. */
export function layOutQuery(p: RetrieveParams, batch: i32, i: i32, head: i32, to: usize, scratch: usize): usize {
  const q = p.q;
  const d = p.keys.d;
  const from = loadRow(rowAddress(q, batch, i, head), q.element, q.dtype, d, scratch + BUFFER);
  const factor = <f32>(p.scale * LOG2E);
  for (let c: usize = 0; c < <usize>d << 2; c += 4) f32.store(to + c, f32.load(from + c) * factor);
  return to;
}

/** How many entries the list of a query has: `topK`, or fewer where scores are not finite. */
@inline
export function foundInBlock(query: i32, topK: i32, scratch: usize): i32 {
  return min(intAt(scratch + COUNTS, query), topK);
}

/** Forgets what lists had. */
export function clearBlock(scratch: usize): void {
  memory.fill(scratch + COUNTS, 0, <usize>QUERIES << 2);
}

/**
 * Lists of 2 topK entries each, for `count` queries from i on, of the keys from `first` to before `limit` for the first query, and
 * one more for each next one where it is causal. The best topK are in front, in no order.
 */
export function searchBlock(
  p: RetrieveParams,
  rows: Rows,
  batch: i32,
  head: i32,
  i: i32,
  count: i32,
  first: i32,
  limit: i32,
  lists: usize,
  scratch: usize,
): void {
  const d = p.keys.d;
  const topK = p.topK;
  const grows = i32(p.causal);
  for (let r: i32 = 0; r < QUERIES; r++) {
    const buffer = scratch + LOADED + <usize>((r % 4) * LARGEST_HEAD * 4);
    store<usize>(scratch + POINTERS + (<usize>(r % 4) << 2), layOutQuery(p, batch, i + min(r, count - 1), head, buffer, scratch));
    if (r % 4 == 3) packQuad(scratch + POINTERS, d, scratch + LAID_OUT + <usize>((r / SLICE) * d * SLICE + (r & ~3) % SLICE) * 4);
    f32.store(scratch + LEAST + (<usize>r << 2), r < count ? -f32.MAX_VALUE : f32.MAX_VALUE);
  }
  const panelBytes = <usize>(d * PANEL * 4);
  const past = limit - first + grows * (count - 1);
  for (let block: i32 = 0; block < past; block += BLOCK_PANELS * PANEL) {
    const end = min(block + BLOCK_PANELS * PANEL, past);
    let packed = scratch + PACKED;
    for (let key = block; key < end; key += PANEL, packed += panelBytes) {
      for (let r: i32 = 0; r < PANEL; r++) {
        const buffer = scratch + LOADED + <usize>(r * LARGEST_HEAD * 4);
        store<usize>(scratch + POINTERS + (<usize>r << 2), rowAt(rows, first + min(key + r, past - 1), buffer));
      }
      packPanel(scratch + POINTERS, d, packed);
    }
    for (let slice: i32 = 0; slice * SLICE < count; slice++) {
      const queries = scratch + LAID_OUT + <usize>(slice * d * SLICE * 4);
      packed = scratch + PACKED;
      for (let key = block; key < end; key += PANEL, packed += panelBytes) {
        multiply(packed, PANEL << 2, false, queries, d, scratch + PRODUCTS, 32, STORE, 0);
        const unseen = key + PANEL - (limit - first + grows * slice * SLICE);
        if (grows && unseen > 0) hideLater(PANEL - unseen, scratch);
        takeProducts(slice, key, min(PANEL, end - key), 0, topK, lists, scratch);
      }
    }
  }
  for (let r: i32 = 0; r < count; r++)
    keepBest(lists + <usize>r * <usize>(2 * topK * 8), intAt(scratch + COUNTS, r), topK);
}

/** Of six keys with eight queries, hides those from key `from` on for the first query, and so on. */
function hideLater(from: i32, scratch: usize): void {
  for (let r: i32 = max(from, 0); r < PANEL; r++)
    for (let lane: i32 = 0; lane < SLICE && lane <= r - from; lane++)
      f32.store(scratch + PRODUCTS + (<usize>(r * SLICE + lane) << 2), -Infinity);
}
