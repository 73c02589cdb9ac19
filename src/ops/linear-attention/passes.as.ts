/**
 * Linear attention: out_i = q_i S_i, where S_i = decay S_(i-1) + k_i^T v_i (causal) or the sum over all keys.
 *
 * Causal: a task takes a few heads, or one, a part of its value columns, a segment of its rows, through chunks of 48 rows.
 * Within a chunk it forms the scores [48 queries][48 keys], times decay^(i-j) and 0 above the diagonal; what came before
 * the chunk enters through the state. Only if heads are fewer than threads are there several segments: `linearStates`
 * goes ahead through all but the last for the states that they start from, of some value columns each. These are the
 * states that one segment comes to, bit for bit, so the cuts may depend on the number of threads.
 * Not causal: `linearStates` sums each segment's own state, `linearTotal` their total, then come the products with it.
 * Here the cuts depend on the shapes only, so that the bits do.
 *
 * In reverse, rows run from the last to the first and the state that a row meets is already decayed: what gradients by
 * keys and values need, since those of the state flow backwards.
 *
 * A normaliser is one more value column, of ones: its results are the denominators, its column of the state the sum of
 * the keys.
 */
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import { DECAY_ADD, product, STORE, STORE_TIMES } from '../../runtime/wasm/assembly/product.as';
import { F32, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import {
  CHUNK_ROW, decayOf, KEY_SLICES, LEAST_DECAY, panelAt, panelsOf, POWER_COUNT, POWERS, RESULTS, SCORES, slicesOf, stateAt,
  stateSliceBytes, tableOf, TASK, Task, VALUES, WIDEST_ROW, ZEROS,
} from './memory.as';
import { CHUNK, PassParams } from './params.generated.as';
import { fetch, layOutKeys, layOutQueries, layOutValues, outAddress, storeRows } from './rows.as';
import { loadState, storeState, updateState } from './state.as';

function startTask(p: PassParams, group: i32, part: i32, partSlices: i32, scratch: usize): Task {
  const t = changetype<Task>(scratch + TASK);
  t.firstHead = group * p.group;
  t.pastHead = min(p.heads, t.firstHead + p.group);
  t.firstSlice = part * partSlices;
  t.slices = min(partSlices, slicesOf(p.e) - t.firstSlice);
  memory.fill(scratch + ZEROS, 0, WIDEST_ROW);
  for (let bh = t.firstHead; bh < t.pastHead; bh++) writeTable(p, bh, tableOf(bh - t.firstHead, scratch));
  return t;
}

function startHead(p: PassParams, t: Task, bh: i32, segment: i32, scratch: usize): void {
  t.bh = bh;
  t.table = tableOf(bh - t.firstHead, scratch);
  t.state = stateAt(p, bh, segment, t.firstSlice);
}

/**
 * If causal, the states that segments start from; task: [groups of heads][parts]. Else one segment's own states, from
 * nothing; task: [groups of heads][parts][segments].
 */
export function linearStates(params: usize, task: i32, scratch: usize): void {
  const p = changetype<PassParams>(params);
  const isCausal = p.causal;
  const segments = isCausal ? 1 : p.segments;
  const firstSegment = task % segments;
  const pastSegment = isCausal ? p.segments - 1 : firstSegment + 1;
  const parts = p.stateParts;
  const t = startTask(p, task / segments / parts, (task / segments) % parts, p.statePartSlices, scratch);
  const bytes = <usize>t.slices * stateSliceBytes(p);
  for (let bh = t.firstHead; bh < t.pastHead; bh++) {
    const state = stateAt(p, bh, firstSegment, t.firstSlice);
    if (isCausal) loadState(p, bh, t.firstSlice, t.slices, state);
    else memory.fill(state, 0, bytes);
  }
  for (let segment = firstSegment; segment < pastSegment; segment++) {
    const target = isCausal ? segment + 1 : segment;
    for (let bh = t.firstHead; isCausal && bh < t.pastHead; bh++) {
      memory.copy(stateAt(p, bh, target, t.firstSlice), stateAt(p, bh, segment, t.firstSlice), bytes);
    }
    addSegment(p, t, segment, target, scratch);
  }
}

/** Takes some slices of some heads' states `target` through the rows of a segment. */
function addSegment(p: PassParams, t: Task, segment: i32, target: i32, scratch: usize): void {
  const chunks = p.segmentChunks;
  const past = min(p.m, (segment + 1) * chunks * CHUNK);
  for (t.first = segment * chunks * CHUNK; t.first < past; t.first += CHUNK) {
    if (isAborted()) return;
    t.rows = min(CHUNK, past - t.first);
    addChunk(p, t, target, scratch);
  }
}

/** Not inlined, as all that is called for each chunk: engines switch to better code only when a function is called. */
function addChunk(p: PassParams, t: Task, target: i32, scratch: usize): void {
  fetch(p, t, p.k, p.m, scratch);
  fetch(p, t, p.v, p.m, scratch);
  for (let bh = t.firstHead; bh < t.pastHead; bh++) {
    startHead(p, t, bh, target, scratch);
    layOutKeys(p, t, false, scratch);
    layOutValues(p, t, scratch);
    updateState(p, t, scratch);
  }
}

/** Not causal, the total of the initial state and the segments'; task: [b * h][slices of e]. */
export function linearTotal(params: usize, task: i32, scratch: usize): void {
  const p = changetype<PassParams>(params);
  const slices = slicesOf(p.e);
  const bh = task / slices;
  const slice = task % slices;
  const bytes = stateSliceBytes(p);
  const total = scratch + RESULTS;
  loadState(p, bh, slice, 1, total);
  for (let segment: i32 = 0; segment < p.segments; segment++) {
    const state = stateAt(p, bh, segment, slice);
    for (let at: usize = 0; at < bytes; at += 16) {
      v128.store(total + at, f32x4.add(v128.load(total + at), v128.load(state + at)));
    }
  }
  memory.copy(stateAt(p, bh, 0, slice), total, bytes);
  storeState(p, bh, slice, 1, total);
}

/** The outputs of one tile of queries; task: [groups of heads][parts][tiles]. */
export function linearOutputs(params: usize, task: i32, scratch: usize): void {
  const p = changetype<PassParams>(params);
  const tiles = p.tiles;
  const tile = task % tiles;
  const t = startTask(p, task / tiles / p.parts, (task / tiles) % p.parts, p.partSlices, scratch);
  const isCausal = p.causal;
  const segment = isCausal ? tile : 0;
  for (let bh = t.firstHead; isCausal && tiles == 1 && bh < t.pastHead; bh++) {
    loadState(p, bh, t.firstSlice, t.slices, stateAt(p, bh, 0, t.firstSlice));
  }
  const chunks = p.tileChunks;
  const past = min(p.n, (tile + 1) * chunks * CHUNK);
  for (t.first = tile * chunks * CHUNK; t.first < past; t.first += CHUNK) {
    if (isAborted()) return;
    t.rows = min(CHUNK, past - t.first);
    if (isCausal) causalChunk(p, t, segment, scratch);
    else chunkOfAll(p, t, segment, scratch);
  }
  if (!isCausal || tile < tiles - 1) return;
  for (let bh = t.firstHead; bh < t.pastHead; bh++) {
    storeState(p, bh, t.firstSlice, t.slices, stateAt(p, bh, segment, t.firstSlice));
  }
}

/** A chunk's outputs, and the state after it. Heads lie side by side in memory: together they read it in one stream. */
function causalChunk(p: PassParams, t: Task, segment: i32, scratch: usize): void {
  fetch(p, t, p.q, p.n, scratch);
  fetch(p, t, p.k, p.m, scratch);
  fetch(p, t, p.v, p.m, scratch);
  for (let bh = t.firstHead; bh < t.pastHead; bh++) {
    startHead(p, t, bh, segment, scratch);
    layOutQueries(p, t, scratch);
    layOutKeys(p, t, true, scratch);
    layOutValues(p, t, scratch);
    score(p, t, scratch);
    multiply(p, t, true, scratch);
    updateState(p, t, scratch);
  }
}

/** A chunk's outputs from the total of all keys and values. */
function chunkOfAll(p: PassParams, t: Task, segment: i32, scratch: usize): void {
  fetch(p, t, p.q, p.n, scratch);
  for (let bh = t.firstHead; bh < t.pastHead; bh++) {
    startHead(p, t, bh, segment, scratch);
    layOutQueries(p, t, scratch);
    multiply(p, t, false, scratch);
  }
}

/** Products of a chunk's queries and keys that are not after them, times their decays. */
function score(p: PassParams, t: Task, scratch: usize): void {
  const d = p.d;
  const rows = t.rows;
  const slices = slicesOf(rows);
  for (let first: i32 = 0; first < rows; first += PANEL) {
    const queries = panelAt(scratch, first / PANEL, d);
    const seen = min((first + PANEL - 1) / SLICE + 1, slices);
    for (let s: i32 = 0; s < seen; s++) {
      const keys = scratch + KEY_SLICES + (<usize>(s * d) << 5);
      const to = scratch + SCORES + <usize>first * CHUNK_ROW + (<usize>s << 5);
      const decays = t.table + (<usize>(CHUNK - 1 - first + s * SLICE) << 2);
      product(queries, 24, false, keys, d, to, CHUNK_ROW, STORE_TIMES, decays);
    }
  }
}

/** The outputs of a chunk: from the state and, if causal (a constant), from the scores. */
@inline
function multiply(p: PassParams, t: Task, causal: bool, scratch: usize): void {
  const d = p.d;
  const rows = t.rows;
  const step = stateSliceBytes(p);
  const isReverse = p.reverse;
  const columns = p.outColumns;
  // A normaliser's column may be needed for the state only.
  const wanted = p.denominators != 0 ? t.slices : min(t.slices, slicesOf(columns) - t.firstSlice);
  // Whole slices of f32 go where they belong at once.
  const isPlain = p.out.dtype == F32 && p.denominators == 0 && p.before == 0 && columns % SLICE == 0;
  const direct = isPlain ? rows / PANEL : 0;
  const rowStep = <usize>(p.h * p.outWidth * (isReverse ? -4 : 4));
  let out = outAddress(p, t.bh, t.first) + (<usize>t.firstSlice << 5);
  // In reverse the state is that of the row itself, else of the row before.
  let decays = t.table + POWERS + (isReverse ? 0 : 4);
  const panels = panelsOf(rows);
  for (let panel: i32 = 0; panel < panels; panel++, out += <usize>PANEL * rowStep, decays += PANEL * 4) {
    const queries = panelAt(scratch, panel, d);
    const weights = scratch + SCORES + <usize>(panel * PANEL) * CHUNK_ROW;
    const seen = min((panel + 1) * PANEL, rows);
    const isDirect = panel < direct;
    let to = isDirect ? out : scratch + RESULTS + (<usize>(panel * PANEL) << 5);
    const toSlice: usize = isDirect ? 32 : <usize>CHUNK << 5;
    const toRow: usize = isDirect ? rowStep : 32;
    let values = scratch + VALUES;
    let column = t.state;
    for (let s: i32 = 0; s < wanted; s++, to += toSlice, column += step, values += <usize>CHUNK << 5) {
      product(queries, 24, false, column, d, to, toRow, STORE, 0);
      if (causal) product(weights, 4, true, values, seen, to, toRow, DECAY_ADD, decays);
    }
  }
  if (direct * PANEL < rows) storeRows(p, t, direct * PANEL, scratch);
}

/** The powers of a head's decay. */
function writeTable(p: PassParams, bh: i32, table: usize): void {
  const decay = decayOf(p, bh);
  memory.fill(table, 0, 2 * CHUNK_ROW);
  let value: f64 = 1;
  for (let r: i32 = 0; r < POWER_COUNT; r++) {
    f32.store(table + POWERS + (r << 2), <f32>value);
    if (r < CHUNK) f32.store(table + ((CHUNK - 1 - r) << 2), <f32>value);
    value *= decay;
    if (value < LEAST_DECAY) value = 0;
  }
}
