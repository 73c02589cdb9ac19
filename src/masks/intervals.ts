/** Sorted, disjoint, non-empty runs of keys, flat: start, one past the end, start, ... */
export type Intervals = readonly number[];

/** The keys for which `join` is true of being in `a` and in `b`; it must be false of keys in neither. */
export function joinIntervals(a: Intervals, b: Intervals, join: (a: boolean, b: boolean) => boolean): Intervals {
  const result: number[] = [];
  let [atA, atB, open] = [0, 0, false];
  while (atA < a.length || atB < b.length) {
    const key = Math.min(a[atA] ?? Number.POSITIVE_INFINITY, b[atB] ?? Number.POSITIVE_INFINITY);
    if (a[atA] === key) atA++;
    if (b[atB] === key) atB++;
    // After an odd number of bounds a key is inside.
    const inside = join(atA % 2 === 1, atB % 2 === 1);
    if (inside !== open) result.push(key);
    open = inside;
  }
  return result;
}

/** Appends the keys from `start` to before `end`, which lie behind all of `runs`. */
export function pushRun(runs: number[], start: number, end: number): void {
  if (start >= end) return;
  if (runs.at(-1) === start) runs.pop();
  else runs.push(start);
  runs.push(end);
}

/** The keys `first`, `first + step`, ... before `end`. */
export function everyNth(first: number, end: number, step: number): Intervals {
  if (step === 1) return first < end ? [first, end] : [];
  const runs: number[] = [];
  for (let key = first; key < end; key += step) runs.push(key, key + 1);
  return runs;
}

/** The smallest number from `least` on that is congruent to `value` modulo `step`. */
export function congruent(value: number, least: number, step: number): number {
  return least + ((((value - least) % step) + step) % step);
}

/** Keys in ascending order, as runs. */
export function runsOf(keys: ArrayLike<number>): Intervals {
  const runs: number[] = [];
  for (let at = 0; at < keys.length; at++) pushRun(runs, keys[at] as number, (keys[at] as number) + 1);
  return runs;
}
