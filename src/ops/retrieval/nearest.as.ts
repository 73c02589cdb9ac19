/** The keys with the largest products with each of many queries: all keys, packed, against 48 queries at a time. */
import { LARGEST_HEAD, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { packPanel, packQuad, rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { product as multiply, STORE } from '../../runtime/wasm/assembly/product.as';
import { loadRow } from '../../runtime/wasm/assembly/storage.as';
import { entryAt, entryOf, keepBest, lastOf, placeOf, pushed, scoreOf, setInt, sort } from './entries.as';
import { BLOCK_PANELS, BuildParams, KEYS, MOST_NEIGHBORS, QUERIES } from './params.generated.as';
import { BUFFER, openKeys, product, rowAt, ROWS_END } from './rows.as';

const SLICES: i32 = QUERIES / SLICE;
export const LOADED: usize = ROWS_END; // six rows
export const POINTERS: usize = LOADED + 6 * LARGEST_HEAD * 4;
export const LAID_OUT: usize = (POINTERS + 6 * 4 + 15) & ~15; // [slices][d][8]
export const PRODUCTS: usize = LAID_OUT + <usize>QUERIES * LARGEST_HEAD * 4; // [6 keys][8 queries]
export const LEAST: usize = PRODUCTS + 6 * 8 * 4; // scores that are exceeded, by query
export const COUNTS: usize = LEAST + <usize>QUERIES * 4;
export const LISTS: usize = COUNTS + <usize>QUERIES * 4; // entries, [queries][2 neighbors]
export const NEAREST_BYTES: usize = LISTS + <usize>QUERIES * 2 * MOST_NEIGHBORS * 8;

/** Panels of six keys and halves of their squared norms; beyond the last key are zeros. */
export function packIndexKeys(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const first = p.index.first;
  const count = p.index.past - first;
  const d = p.keys.d;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const panelBytes = <usize>(d * PANEL * 4);
  const panelsOfTask = (KEYS + PANEL - 1) / PANEL;
  const panels = min((task + 1) * panelsOfTask, (count + PANEL - 1) / PANEL);
  memory.fill(scratch + BUFFER, 0, <usize>d << 2);
  for (let panel = task * panelsOfTask; panel < panels; panel++) {
    for (let r: i32 = 0; r < PANEL; r++) {
      const key = panel * PANEL + r;
      const row = key < count ? rowAt(rows, first + key, scratch + LOADED + <usize>(r * LARGEST_HEAD * 4)) : scratch + BUFFER;
      store<usize>(scratch + POINTERS + (r << 2), row);
      if (p.isOfKeys) f32.store(p.norms + (<usize>key << 2), product(row, row, d) / 2);
    }
    packPanel(scratch + POINTERS, d, p.packed + <usize>panel * panelBytes);
  }
}

/** Lays 48 queries out in slices of eight. */
function layOutQueries(p: BuildParams, first: i32, scratch: usize): void {
  const d = p.keys.d;
  for (let quad: i32 = 0; quad < QUERIES; quad += 4) {
    for (let r: i32 = 0; r < 4; r++) {
      const at = first + quad + r;
      const buffer = scratch + LOADED + <usize>(r * LARGEST_HEAD * 4);
      store<usize>(scratch + POINTERS + (r << 2), queryAt(p, min(at, p.count - 1), buffer, scratch));
    }
    packQuad(scratch + POINTERS, d, scratch + LAID_OUT + (<usize>(quad / SLICE) * <usize>d * SLICE + quad % SLICE) * 4);
  }
}

function queryAt(p: BuildParams, at: i32, buffer: usize, scratch: usize): usize {
  if (p.isOfKeys) return rowAt(openKeys(p.keys, p.batch, p.head, scratch), p.index.first + at, buffer);
  const place = at * p.stride;
  const q = p.queries;
  const row = rowAddress(q, p.batch, place / p.shared, p.head * p.shared + (place % p.shared));
  return loadRow(row, q.element, q.dtype, p.keys.d, buffer);
}

export function nearestOfQueries(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const d = p.keys.d;
  const neighbors = p.neighbors;
  const keys = p.index.past - p.index.first;
  const first = task * QUERIES;
  const count = min(QUERIES, p.count - first);
  const panels = (keys + PANEL - 1) / PANEL;
  const panelBytes = <usize>(d * PANEL * 4);
  const sliceBytes = <usize>(d * SLICE * 4);
  const packed = p.packed;
  const norms: usize = p.isOfKeys ? p.norms : 0;
  layOutQueries(p, first, scratch);
  for (let r: usize = 0; r < <usize>QUERIES; r++) {
    f32.store(scratch + LEAST + (r << 2), r < <usize>count ? -f32.MAX_VALUE : f32.MAX_VALUE);
    i32.store(scratch + COUNTS + (r << 2), 0);
  }
  for (let block: i32 = 0; block < panels; block += BLOCK_PANELS) {
    for (let slice: i32 = 0; slice < SLICES; slice++) {
      const queries = scratch + LAID_OUT + <usize>slice * sliceBytes;
      for (let panel = block; panel < min(block + BLOCK_PANELS, panels); panel++) {
        multiply(packed + <usize>panel * panelBytes, PANEL << 2, false, queries, d, scratch + PRODUCTS, 32, STORE, 0);
        takeProducts(slice, panel * PANEL, min(PANEL, keys - panel * PANEL), norms, neighbors, scratch + LISTS, scratch);
      }
    }
  }
  for (let r: i32 = 0; r < count; r++) {
    const list = scratch + LISTS + <usize>r * <usize>(2 * neighbors * 8);
    const found = i32.load(scratch + COUNTS + (<usize>r << 2));
    const kept = min(found, neighbors);
    keepBest(list, found, kept);
    sort(list, kept);
    const to = p.lists + <usize>(first + r) * (<usize>neighbors << 2);
    for (let at: i32 = 0; at < neighbors; at++)
      setInt(to, at, at < kept ? placeOf(entryAt(list, at)) : -1);
  }
}

/** Adds the products of six keys with eight queries to the lists where they exceed what is there. */
@inline
export function takeProducts(slice: i32, key: i32, count: i32, norms: usize, neighbors: i32, lists: usize, scratch: usize): void {
  const least = scratch + LEAST + <usize>(slice * SLICE * 4);
  for (let r: i32 = 0; r < count; r++) {
    const row = scratch + PRODUCTS + <usize>(r * SLICE * 4);
    let left = v128.load(row);
    let right = v128.load(row, 16);
    if (norms) {
      const norm = v128.load32_splat(norms + (<usize>(key + r) << 2));
      left = f32x4.sub(left, norm);
      right = f32x4.sub(right, norm);
      v128.store(row, left);
      v128.store(row, right, 16);
    }
    const isMore = v128.or(f32x4.gt(left, v128.load(least)), f32x4.gt(right, v128.load(least, 16)));
    if (v128.any_true(isMore)) take(slice, key + r, row, least, neighbors, lists, scratch);
  }
}

function take(slice: i32, key: i32, row: usize, least: usize, neighbors: i32, lists: usize, scratch: usize): void {
  for (let lane: usize = 0; lane < <usize>SLICE; lane++) {
    const score = f32.load(row + (lane << 2));
    if (!(score > f32.load(least + (lane << 2)))) continue;
    const query = <usize>(slice * SLICE) + lane;
    const list = lists + query * <usize>(2 * neighbors * 8);
    const counter = scratch + COUNTS + (query << 2);
    const before = i32.load(counter);
    const count = pushed(list, before, neighbors, entryOf(score, key));
    i32.store(counter, count);
    if (count <= before) f32.store(least + (lane << 2), scoreOf(lastOf(list, count)));
  }
}
