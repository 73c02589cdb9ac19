/**
 * Lists of scored keys. An entry is a score, as an integer that falls as it rises, above the key's place and a bit of the
 * caller's, so that integers tell which comes first: the largest score, and the earlier of equal ones; NaN last.
 */

@inline
export function entryOf(score: f32, place: i32): u64 {
  const bits = reinterpret<i32>(score);
  const rising = <u32>(bits ^ ((bits >> 31) & i32.MAX_VALUE)) ^ 0x80000000;
  const falling: u32 = score != score ? u32.MAX_VALUE : ~rising;
  return (<u64>falling << 32) | (<u64>place << 1);
}

/** The same for a score that is a whole number. */
@inline
export function entryOfWhole(score: i32, place: i32): u64 {
  return (<u64>~(<u32>score ^ 0x80000000) << 32) | (<u64>place << 1);
}

@inline
export function placeOf(entry: u64): i32 {
  return <i32>(<u32>entry >> 1);
}

@inline
export function scoreOf(entry: u64): f32 {
  const rising = <i32>(~(<u32>(entry >> 32)) ^ 0x80000000);
  return reinterpret<f32>(rising ^ ((rising >> 31) & i32.MAX_VALUE));
}

/** Integer `at` of a list. */
@inline
export function intAt(list: usize, at: i32): i32 {
  return i32.load(list + (<usize>at << 2));
}

@inline
export function setInt(list: usize, at: i32, value: i32): void {
  i32.store(list + (<usize>at << 2), value);
}

@inline
export function entryAt(list: usize, at: i32): u64 {
  return load<u64>(list + (<usize>at << 3));
}

@inline
export function setEntry(list: usize, at: i32, entry: u64): void {
  store<u64>(list + (<usize>at << 3), entry);
}

/** Puts an entry into a list in order, whose last one falls out if it is full; returns its place, -1 if it comes after all. */
export function insert(list: usize, count: i32, limit: i32, entry: u64): i32 {
  if (count == limit && entry >= entryAt(list, count - 1)) return -1;
  let low: i32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entryAt(list, middle) < entry) low = middle + 1;
    else high = middle;
  }
  const moved = min(count, limit - 1) - low;
  const at = list + (<usize>low << 3);
  memory.copy(at + 8, at, <usize>moved << 3);
  store<u64>(at, entry);
  return low;
}

/** Merges entries in order into a list in order, whose last ones fall out beyond a limit; returns the first place that is not as before. */
export function mergeInto(list: usize, count: i32, limit: i32, others: usize, more: i32): i32 {
  let left = count - 1;
  let right = more - 1;
  for (let beyond = count + more - limit; beyond > 0; beyond--) {
    if (right < 0 || (left >= 0 && entryAt(list, left) > entryAt(others, right))) left--;
    else right--;
  }
  let to = left + right + 1;
  for (; right >= 0; to--) {
    if (left >= 0 && entryAt(list, left) > entryAt(others, right)) setEntry(list, to, entryAt(list, left--));
    else setEntry(list, to, entryAt(others, right--));
  }
  return to + 1;
}

/** Moves the first k of `count` entries, in any order, to the front. */
export function keepBest(list: usize, count: i32, k: i32): void {
  let low: i32 = 0;
  let high = count - 1;
  while (low < high) {
    const pivot = entryAt(list, (low + high) >> 1);
    let i = low;
    let j = high;
    while (i <= j) {
      while (entryAt(list, i) < pivot) i++;
      while (entryAt(list, j) > pivot) j--;
      if (i > j) break;
      const entry = entryAt(list, i);
      setEntry(list, i++, entryAt(list, j));
      setEntry(list, j--, entry);
    }
    if (k - 1 <= j) high = j;
    else if (k - 1 >= i) low = i;
    else return;
  }
}

/** The last in order of the first `count` entries. */
export function lastOf(list: usize, count: i32): u64 {
  let last: u64 = 0;
  for (let at: i32 = 0; at < count; at++) last = max(last, entryAt(list, at));
  return last;
}

/** Adds to a list of at most 2 k, of which the first k are wanted; returns how many it has then. */
@inline
export function pushed(list: usize, count: i32, k: i32, entry: u64): i32 {
  setEntry(list, count++, entry);
  if (count < 2 * k) return count;
  keepBest(list, count, k);
  return k;
}

export function sort(list: usize, count: i32): void {
  for (let gap = count >> 1; gap > 0; gap = gap == 2 ? 1 : <i32>(<f32>gap / 2.2)) {
    for (let i = gap; i < count; i++) {
      const entry = entryAt(list, i);
      let j = i;
      for (; j >= gap && entryAt(list, j - gap) > entry; j -= gap) setEntry(list, j, entryAt(list, j - gap));
      setEntry(list, j, entry);
    }
  }
}
