/**
 * The first elements of rows in order; tasks are runs of rows. An entry is a key, an integer in the order of the
 * elements, above the element's place, so no two are equal and integers tell which comes first.
 */
import { PICKED, TopKParams } from './params.generated.as';

const DIGITS: i32 = 4;
const DIGIT_VALUES: i32 = 256;

/** Counts of each value of each digit, or the entries that are picked. */
export const SCRATCH_BYTES: usize = DIGITS * DIGIT_VALUES * 4;

export function topK(params: usize, task: i32, scratch: usize): void {
  const p = changetype<TopKParams>(params);
  const columns = p.columns;
  const k = p.k;
  const first = task * p.rowsOfTask;
  const last = min(first + p.rowsOfTask, p.rows);
  const sorted = p.entries + <usize>task * (<usize>p.room << 4);
  for (let r = first; r < last; r++) {
    const x = p.x + <usize>r * (<usize>columns << 2);
    if (k <= PICKED) pick(x, columns, k, p.descending, scratch);
    else select(x, columns, k, p.descending, sorted, p.room, scratch);
    const found = k <= PICKED ? scratch : sorted;
    const to = <usize>r * (<usize>k << 2);
    for (let at: usize = 0; at < <usize>k; at++) {
      const place = i32.load(found + (at << 3));
      i32.store(p.indices + to + (at << 2), place);
      if (p.values) f32.store(p.values + to + (at << 2), f32.load(x + (<usize>place << 2)));
    }
  }
}

@inline
function entryOf(x: usize, place: i32, descending: bool): u64 {
  const bits = i32.load(x + (<usize>place << 2));
  const magnitude = bits & i32.MAX_VALUE;
  let key = (bits < 0) == descending ? magnitude : -magnitude;
  if (magnitude > 0x7f800000) key = i32.MAX_VALUE;
  return ((<u64>(<u32>(key ^ i32.MIN_VALUE))) << 32) | <u64>place;
}

/** The next element that does not come after all that are taken, or a little before it; NaN is left to the keys. */
@inline
function skip(x: usize, c: i32, columns: i32, bound: v128, descending: bool): i32 {
  for (; c + 4 <= columns; c += 4) {
    const four = v128.load(x + (<usize>c << 2));
    const behind = i32x4.bitmask(descending ? f32x4.le(four, bound) : f32x4.ge(four, bound));
    if (behind != 15) return c + ctz(~behind);
  }
  return c;
}

/** The first k entries, in order, by insertion. */
function pick(x: usize, columns: i32, k: i32, descending: bool, to: usize): void {
  let count: i32 = 0;
  let latest: u64 = 0;
  let bound = f32x4.splat(0);
  for (let c: i32 = 0; c < columns; c++) {
    if (count == k) {
      c = skip(x, c, columns, bound, descending);
      if (c == columns) break;
    }
    const entry = entryOf(x, c, descending);
    if (count < k) count++;
    else if (entry > latest) continue;
    let at = to + (<usize>(count - 1) << 3);
    for (; at > to && load<u64>(at - 8) > entry; at -= 8) store<u64>(at, load<u64>(at - 8));
    store<u64>(at, entry);
    latest = load<u64>(to + (<usize>(count - 1) << 3));
    bound = v128.load32_splat(x + (<usize>(<u32>latest) << 2));
  }
}

/** The first k entries, in order: of those that may be among them the room is filled, sorted, and all but k forgotten. */
function select(x: usize, columns: i32, k: i32, descending: bool, entries: usize, room: i32, counts: usize): void {
  let count: i32 = 0;
  let latest: u64 = u64.MAX_VALUE;
  let bound = f32x4.splat(0);
  for (let c: i32 = 0; c < columns; c++) {
    if (latest != u64.MAX_VALUE) {
      c = skip(x, c, columns, bound, descending);
      if (c == columns) break;
    }
    const entry = entryOf(x, c, descending);
    if (entry > latest) continue;
    store<u64>(entries + (<usize>count << 3), entry);
    if (++count < room || c + 1 == columns) continue;
    sort(entries, count, counts);
    count = k;
    latest = load<u64>(entries + (<usize>(k - 1) << 3));
    bound = v128.load32_splat(x + (<usize>(<u32>latest) << 2));
  }
  sort(entries, count, counts);
}

/** Entries in order, by their digits from the lowest on; working memory is as much again behind them. */
function sort(entries: usize, length: i32, counts: usize): void {
  const bytes = <usize>length << 3;
  memory.fill(counts, 0, SCRATCH_BYTES);
  for (let at = entries; at < entries + bytes; at += 8) {
    const entry = load<u64>(at);
    for (let digit: i32 = 0; digit < DIGITS; digit++) {
      const count = countOf(counts, entry, digit);
      i32.store(count, i32.load(count) + 1);
    }
  }
  for (let digit: i32 = 0; digit < DIGITS; digit++) {
    let before: i32 = 0;
    for (let value: i32 = 0; value < DIGIT_VALUES; value++) {
      const count = counts + (<usize>(digit * DIGIT_VALUES + value) << 2);
      const here = i32.load(count);
      i32.store(count, before);
      before += here;
    }
  }
  let from = entries;
  let to = entries + bytes;
  for (let digit: i32 = 0; digit < DIGITS; digit++) {
    for (let at = from; at < from + bytes; at += 8) {
      const entry = load<u64>(at);
      const count = countOf(counts, entry, digit);
      const place = i32.load(count);
      i32.store(count, place + 1);
      store<u64>(to + (<usize>place << 3), entry);
    }
    const done = to;
    to = from;
    from = done;
  }
}

/** Where the count of an entry's digit lies; the digits are those of its key. */
@inline
function countOf(counts: usize, entry: u64, digit: i32): usize {
  const value = <i32>(entry >> <u64>(32 + 8 * digit)) & (DIGIT_VALUES - 1);
  return counts + (<usize>(digit * DIGIT_VALUES + value) << 2);
}
