/** Cells of keys around centres, by rounds of k-means; the keys of a cell are a chain. */
import { intAt, setInt } from './entries.as';
import { BuildParams, ExtendParams, Index, KEYS, MOVERS } from './params.generated.as';
import { BUFFER, distance, openKeys, rowAt } from './rows.as';

@inline
export function chainsOf(index: Index, batch: i32, head: i32, g: i32): usize {
  return index.edges + (<usize>((batch * g + head) * index.capacity) << 2);
}

@inline
export function cellsOf(index: Index, batch: i32, head: i32, g: i32): usize {
  return index.entries + (<usize>((batch * g + head) * index.starts) << 2);
}

@inline
export function centersOf(index: Index, batch: i32, head: i32, g: i32, d: i32): usize {
  return index.centers + <usize>((batch * g + head) * index.starts) * (<usize>d << 2);
}

/** Begins with keys that lie evenly in the sequence. */
export function seedCells(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const keys = index.past - index.first;
  const cells = index.starts;
  const d = p.keys.d;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const centers = centersOf(index, p.batch, p.head, p.keys.g, d);
  for (let cell: i32 = 0; cell < cells; cell++) {
    const key = index.first + <i32>((<i64>cell * keys) / cells);
    memory.copy(centers + <usize>cell * (<usize>d << 2), rowAt(rows, key, scratch + BUFFER), <usize>d << 2);
  }
}

/** The centre that a key is nearest to. */
export function nearestCenter(key: usize, centers: usize, cells: i32, d: i32): i32 {
  let nearest: i32 = 0;
  let least = f32.MAX_VALUE;
  for (let cell: i32 = 0; cell < cells; cell++) {
    const from = distance(key, centers + <usize>cell * (<usize>d << 2), d);
    if (!(from < least)) continue;
    least = from;
    nearest = cell;
  }
  return nearest;
}

export function assignCells(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const first = index.first;
  const cells = index.starts;
  const d = p.keys.d;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const centers = centersOf(index, p.batch, p.head, p.keys.g, d);
  const past = min((task + 1) * KEYS, index.past - first);
  for (let key = task * KEYS; key < past; key++) {
    const row = rowAt(rows, first + key, scratch + BUFFER);
    setInt(p.cells, key, nearestCenter(row, centers, cells, d));
  }
}

/** Moves some centres to the means of their keys; those without keys stay. */
export function moveCells(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const first = index.first;
  const keys = index.past - first;
  const d = p.keys.d;
  const rows = openKeys(p.keys, p.batch, p.head, scratch);
  const centers = centersOf(index, p.batch, p.head, p.keys.g, d);
  const low = (task * index.starts) / MOVERS;
  const high = ((task + 1) * index.starts) / MOVERS;
  // The sums of a cell, and behind them how many keys it has.
  const step = <usize>(d + 1) << 2;
  memory.fill(p.sums + <usize>low * step, 0, <usize>(high - low) * step);
  for (let key: i32 = 0; key < keys; key++) {
    const cell = intAt(p.cells, key);
    if (cell < low || cell >= high) continue;
    const row = rowAt(rows, first + key, scratch + BUFFER);
    const sums = p.sums + <usize>cell * step;
    for (let c: usize = 0; c < <usize>d << 2; c += 4) f32.store(sums + c, f32.load(sums + c) + f32.load(row + c));
    f32.store(sums + (<usize>d << 2), f32.load(sums + (<usize>d << 2)) + 1);
  }
  for (let cell = low; cell < high; cell++) {
    const sums = p.sums + <usize>cell * step;
    const count = f32.load(sums + (<usize>d << 2));
    const center = centers + <usize>cell * (<usize>d << 2);
    if (count > 0) for (let c: usize = 0; c < <usize>d << 2; c += 4) f32.store(center + c, f32.load(sums + c) / count);
  }
}

export function chainCells(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BuildParams>(params);
  const index = p.index;
  const keys = index.past - index.first;
  const chains = chainsOf(index, p.batch, p.head, p.keys.g);
  const cells = cellsOf(index, p.batch, p.head, p.keys.g);
  memory.fill(cells, 0xff, <usize>index.starts << 2);
  for (let key: i32 = 0; key < keys; key++)
    addToCell(chains, cells, intAt(p.cells, key), key, index.first);
}

@inline
function addToCell(chains: usize, cells: usize, cell: i32, key: i32, first: i32): void {
  const head = cells + (<usize>cell << 2);
  setInt(chains, key, i32.load(head));
  i32.store(head, first + key);
}

/** Adds the keys that come to the cells of a head. */
export function extendCells(p: ExtendParams, batch: i32, head: i32, scratch: usize): void {
  const index = p.index;
  const first = index.first;
  const d = p.keys.d;
  const g = p.keys.g;
  const rows = openKeys(p.keys, batch, head, scratch);
  const chains = chainsOf(index, batch, head, g);
  const cells = cellsOf(index, batch, head, g);
  // Those that were taken back are at the front of their chains.
  for (let cell = cells; cell < cells + (<usize>index.starts << 2); cell += 4)
    while (i32.load(cell) >= index.past) i32.store(cell, i32.load(chains + (<usize>(i32.load(cell) - first) << 2)));
  for (let key = index.past; key < p.past; key++) {
    const row = rowAt(rows, key, scratch + BUFFER);
    addToCell(chains, cells, nearestCenter(row, centersOf(index, batch, head, g, d), index.starts, d), key - first, first);
  }
}
