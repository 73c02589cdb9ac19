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
import { fetchRows, packPanel, packQuad, rowAddress, rowBytes } from '../../runtime/wasm/assembly/layout.as';
import { F32, MOST_HEADS, PANEL, SLICE } from '../../runtime/wasm/params.generated.as';
import { ACROSS, DECAY_ADD, product, STORE, STORE_TIMES } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { CHUNK, PassParams, Rows } from './params.generated.as';

const CHUNK_ROW: usize = ACROSS;
/** 256 features or columns and the normaliser's one, in whole panels and slices; the host takes more in blocks. */
export const WIDEST: i32 = 264;
const WIDEST_ROW: usize = <usize>WIDEST * 4;
/** Powers of a decay that a chunk needs. */
const POWER_COUNT: i32 = CHUNK + 1;
/** Less is no weight: numbers that small are slow to compute with. */
const LEAST_DECAY: f64 = 7.888609052210118e-31; // 2^-100

// A head's table. Row i of decay^(i - j), with 0 above the diagonal, begins 47 - i numbers after the start.
const POWERS: usize = 2 * CHUNK_ROW; // decay^0 to decay^48
const TABLE_BYTES: usize = (POWERS + <usize>POWER_COUNT * 4 + 15) & ~15;

// A thread's working memory.
const POINTERS: usize = 0; // addresses of 48 rows
const ZEROS: usize = POINTERS + <usize>CHUNK * 4;
const CONVERTED: usize = ZEROS + WIDEST_ROW; // rows that do not lie in memory as f32
const QUERY_PANELS: usize = CONVERTED + <usize>CHUNK * WIDEST_ROW; // [8 panels][d][6]
const KEY_SLICES: usize = QUERY_PANELS + <usize>CHUNK * WIDEST_ROW; // [6 slices][d][8]
const KEY_ROWS: usize = KEY_SLICES + <usize>CHUNK * WIDEST_ROW; // [48][d in whole panels], decayed to the chunk's end
const VALUES: usize = KEY_ROWS + <usize>CHUNK * WIDEST_ROW; // [slices][48][8]
const RESULTS: usize = VALUES + <usize>CHUNK * WIDEST_ROW; // [slices][48][8]
const SCORES: usize = RESULTS + <usize>CHUNK * WIDEST_ROW; // [48 queries][48 keys]
const CARRY: usize = SCORES + <usize>CHUNK * CHUNK_ROW; // a chunk's decay of the state, six times
const TASK: usize = CARRY + 32;
const TABLES: usize = TASK + 48; // of each head
export const LINEAR_BYTES: usize = TABLES + <usize>MOST_HEADS * TABLE_BYTES;

@inline
function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}

@inline
function panelsOf(rows: i32): i32 {
  return (rows + PANEL - 1) / PANEL;
}

/** Bytes of a slice of the state. */
@inline
function stateSliceBytes(p: PassParams): usize {
  return <usize>(panelsOf(p.d) * PANEL) << 5;
}

@inline
function stateAt(p: PassParams, bh: i32, segment: i32, slice: i32): usize {
  const place = (bh * p.segments + segment) * slicesOf(p.e) + slice;
  return p.states + <usize>place * stateSliceBytes(p);
}

/** What a task takes, some slices of value columns of some heads, and what of it is being computed. */
@unmanaged
class Task {
  firstHead: i32;
  pastHead: i32;
  firstSlice: i32;
  slices: i32;
  /** The chunk's first row, and how many it has. */
  first: i32;
  rows: i32;
  /** The head, through all batches, the powers of its decay, and the slices of its state. */
  bh: i32;
  table: usize;
  state: usize;
}

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
    fetch(p, t, p.k, p.m, scratch);
    fetch(p, t, p.v, p.m, scratch);
    for (let bh = t.firstHead; bh < t.pastHead; bh++) {
      startHead(p, t, bh, target, scratch);
      layOutKeys(p, t, false, scratch);
      layOutValues(p, t, scratch);
      updateState(p, t, scratch);
    }
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
    // Heads lie side by side in memory: together they read it in one stream.
    fetch(p, t, p.q, p.n, scratch);
    if (isCausal) {
      fetch(p, t, p.k, p.m, scratch);
      fetch(p, t, p.v, p.m, scratch);
    }
    for (let bh = t.firstHead; bh < t.pastHead; bh++) {
      startHead(p, t, bh, segment, scratch);
      layOutQueries(p, t, scratch);
      if (isCausal) {
        layOutKeys(p, t, true, scratch);
        layOutValues(p, t, scratch);
        score(p, t, scratch);
        multiply(p, t, true, scratch);
        updateState(p, t, scratch);
      } else multiply(p, t, false, scratch);
    }
  }
  if (!isCausal || tile < tiles - 1) return;
  for (let bh = t.firstHead; bh < t.pastHead; bh++) {
    storeState(p, bh, t.firstSlice, t.slices, stateAt(p, bh, segment, t.firstSlice));
  }
}

@inline
function tableOf(head: i32, scratch: usize): usize {
  return scratch + TABLES + <usize>head * TABLE_BYTES;
}

@inline
function panelAt(scratch: usize, panel: i32, d: i32): usize {
  return scratch + QUERY_PANELS + <usize>(panel * d * PANEL * 4);
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

/** Where the row lies in `out`, of f32 if it is used so. */
@inline
function outAddress(p: PassParams, bh: i32, row: i32): usize {
  return p.out.address + placeOf(p, bh, row) * <usize>p.outWidth * bytesOf(p.out.dtype);
}

/** The number of a head's row among all [b, n, h]. */
@inline
function placeOf(p: PassParams, bh: i32, row: i32): usize {
  const n = p.n;
  const h = p.h;
  return <usize>((bh / h) * n + (p.reverse ? n - 1 - row : row)) * <usize>h + <usize>(bh % h);
}

/** state = decay^rows state + keys^T values. */
function updateState(p: PassParams, t: Task, scratch: usize): void {
  const rows = t.rows;
  const decay = f32x4.splat(f32.load(t.table + POWERS + (<usize>rows << 2)));
  const carry = scratch + CARRY;
  v128.store(carry, decay);
  v128.store64_lane(carry, decay, 0, 16);
  const step = stateSliceBytes(p) >> 3;
  const pastKeys = scratch + KEY_ROWS + step;
  let values = scratch + VALUES;
  let state = t.state;
  for (let s = t.slices; s > 0; s--, values += <usize>CHUNK << 5) {
    for (let keys = scratch + KEY_ROWS; keys < pastKeys; keys += PANEL * 4, state += PANEL << 5) {
      product(keys, step, false, values, rows, state, 32, DECAY_ADD, carry);
    }
  }
}

@inline
function decayOf(p: PassParams, bh: i32): f64 {
  return f64.load(p.decays + (<usize>(bh % p.h) << 3));
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

/** The addresses of `count` rows of one head as f32, in the problem's order; past the last row, of a row of zeros. */
function pointToRows(p: PassParams, t: Task, x: Rows, total: i32, count: i32, scratch: usize): void {
  const h = p.h;
  const head = ((t.bh % h) * x.heads) / h;
  const isReverse = p.reverse;
  const row = isReverse ? total - 1 - t.first : t.first;
  let from = rowAddress(x.operand, t.bh / h, row, head);
  const dtype = x.operand.dtype;
  const element = x.operand.element;
  const rowBytes = x.operand.row * bytesOf(dtype);
  const step: usize = isReverse ? 0 - rowBytes : rowBytes;
  const columns = x.columns;
  const hasOnes = x.ones;
  const inMemory = min(count, total - t.first);
  for (let r: i32 = 0; r < inMemory; r++, from += step) {
    const buffer = scratch + CONVERTED + <usize>r * WIDEST_ROW;
    let at = loadRow(from, element, dtype, columns, buffer);
    if (hasOnes) {
      if (at != buffer) memory.copy(buffer, at, <usize>columns << 2);
      f32.store(buffer + (<usize>columns << 2), 1);
      at = buffer;
    }
    store<usize>(scratch + POINTERS + (r << 2), at);
  }
  for (let r = inMemory; r < count; r++) store<usize>(scratch + POINTERS + (r << 2), scratch + ZEROS);
}

/** Brings a chunk's rows of several heads into the cache. */
function fetch(p: PassParams, t: Task, x: Rows, total: i32, scratch: usize): void {
  const h = p.h;
  const heads = x.heads;
  const from = (t.firstHead * heads) / h;
  const past = ((t.pastHead - 1) * heads) / h + 1;
  const row = p.reverse ? total - t.first - t.rows : t.first;
  fetchRows(x.operand, heads, from, past, row, t.rows, x.columns, scratch + CARRY);
}

function layOutQueries(p: PassParams, t: Task, scratch: usize): void {
  const d = p.d;
  const panels = panelsOf(t.rows);
  pointToRows(p, t, p.q, p.n, panels * PANEL, scratch);
  for (let panel: i32 = 0; panel < panels; panel++) {
    packPanel(scratch + POINTERS + (panel * PANEL * 4), d, panelAt(scratch, panel, d));
  }
}

/** Keys as slices for the scores, if wanted, and as rows, decayed to the chunk's end, for the state. */
function layOutKeys(p: PassParams, t: Task, slicesToo: bool, scratch: usize): void {
  const d = p.d;
  const rows = t.rows;
  const slices = slicesOf(rows);
  pointToRows(p, t, p.k, p.m, slices * SLICE, scratch);
  if (slicesToo) {
    for (let s: i32 = 0; s < slices; s++) {
      const pointers = scratch + POINTERS + (s * SLICE * 4);
      const to = scratch + KEY_SLICES + (<usize>(s * d) << 5);
      packQuad(pointers, d, to);
      packQuad(pointers + 16, d, to + 16);
    }
  }
  const step = <usize>(panelsOf(d) * PANEL * 4);
  const bytes = <usize>d << 2;
  const last = rows - 1 + (p.reverse ? 1 : 0);
  for (let r: i32 = 0; r < rows; r++) {
    const from = load<usize>(scratch + POINTERS + (r << 2));
    const to = scratch + KEY_ROWS + <usize>r * step;
    const weight = f32.load(t.table + POWERS + ((last - r) << 2));
    const weights = f32x4.splat(weight);
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16) v128.store(to + c, f32x4.mul(v128.load(from + c), weights));
    for (; c < bytes; c += 4) f32.store(to + c, f32.load(from + c) * weight);
    for (; c < step; c += 4) f32.store(to + c, 0);
  }
}

/** Some slices of the values' columns, [slices][48][8], the columns beyond the last one 0. */
function layOutValues(p: PassParams, t: Task, scratch: usize): void {
  const slices = t.slices;
  pointToRows(p, t, p.v, p.m, t.rows, scratch);
  const rest = p.e - t.firstSlice * SLICE;
  const whole = min(slices, rest / SLICE);
  for (let r: i32 = 0; r < t.rows; r++) {
    let from = load<usize>(scratch + POINTERS + (r << 2)) + (<usize>t.firstSlice << 5);
    let to = scratch + VALUES + (<usize>r << 5);
    for (let s: i32 = 0; s < whole; s++, from += 32, to += <usize>CHUNK << 5) {
      v128.store(to, v128.load(from));
      v128.store(to, v128.load(from, 16), 16);
    }
    if (whole < slices) {
      memory.fill(to, 0, 32);
      memory.copy(to, from, <usize>(rest - whole * SLICE) << 2);
    }
  }
}

/** Results from row `from` on to the rows of `out`, with what was before and over the denominators where there are some. */
function storeRows(p: PassParams, t: Task, from: i32, scratch: usize): void {
  const firstColumn = t.firstSlice * SLICE;
  const columns = min(t.slices * SLICE, p.outColumns - firstColumn);
  const dtype = p.out.dtype;
  // The last column, of a task that has all.
  const last = p.e - 1;
  const sums = scratch + RESULTS + <usize>(last / SLICE) * (<usize>CHUNK << 5) + (<usize>(last % SLICE) << 2);
  for (let r = from; r < t.rows; r++) {
    let factor: f32 = 1;
    const place = placeOf(p, t.bh, t.first + r);
    if (p.before != 0) {
      const before = p.before + ((place * <usize>p.outColumns + <usize>firstColumn) << 2);
      addNumbers(before, scratch + RESULTS + (<usize>r << 5), columns);
    }
    if (p.denominators != 0) {
      const at = p.denominators + (place << 2);
      let denominator = f32.load(sums + (<usize>r << 5));
      if (p.before != 0) denominator += f32.load(at);
      if (!p.unfinished) {
        denominator += <f32>p.epsilon;
        factor = 1 / denominator;
      }
      f32.store(at, denominator);
    }
    const out = outAddress(p, t.bh, t.first + r) + <usize>firstColumn * bytesOf(dtype);
    const to = dtype == F32 && columns % SLICE == 0 ? out : scratch + CONVERTED;
    const factors = f32x4.splat(factor);
    let result = scratch + RESULTS + (<usize>r << 5);
    const end = to + (<usize>columns << 2);
    for (let at = to; at < end; at += 32, result += <usize>CHUNK << 5) {
      v128.store(at, f32x4.mul(v128.load(result), factors));
      v128.store(at, f32x4.mul(v128.load(result, 16), factors), 16);
    }
    if (to != out) storeRow(to, out, dtype, columns);
  }
}

/** A row's numbers to a row of results [slices][48][8]. */
function addNumbers(from: usize, to: usize, count: i32): void {
  const past = from + (<usize>count << 2);
  for (; from + 32 <= past; from += 32, to += <usize>CHUNK << 5) {
    v128.store(to, f32x4.add(v128.load(from), v128.load(to)));
    v128.store(to, f32x4.add(v128.load(from, 16), v128.load(to, 16)), 16);
  }
  for (; from < past; from += 4, to += 4) f32.store(to, f32.load(from) + f32.load(to));
}

/** Slices of the initial state, zeros where there is none. */
function loadState(p: PassParams, bh: i32, firstSlice: i32, slices: i32, to: usize): void {
  const x = p.initial;
  const h = p.h;
  const d = p.d;
  const step = stateSliceBytes(p);
  memory.fill(to, 0, <usize>slices * step);
  const features = x.address == 0 ? 0 : p.stateFeatures;
  const columns = p.stateColumns;
  const between = x.element << 2;
  const next = rowBytes(x);
  for (let s: i32 = 0; s < slices; s++, to += step) {
    const column = (firstSlice + s) * SLICE;
    const count = min(SLICE, columns - column);
    let row = rowAddress(x, bh / h, 0, bh % h) + <usize>column * between;
    const pastFeatures = to + (<usize>features << 5);
    for (let feature = to; feature < pastFeatures; feature += 32, row += next) {
      copyNumbers(row, between, feature, count);
    }
    if (p.initialSums == 0) continue;
    if (p.sumsAcross) {
      const from = p.initialSums + (<usize>(bh * p.sumsWidth + column) << 2);
      copyNumbers(from, 4, to + (<usize>p.stateFeatures << 5), count);
    } else if (count < SLICE) {
      const from = p.initialSums + (<usize>(bh * p.sumsWidth) << 2);
      const sums = to + (<usize>count << 2);
      for (let r: i32 = 0; r < d; r++) f32.store(sums + (<usize>r << 5), f32.load(from + (<usize>r << 2)));
    }
  }
}

/** Slices of the final state to where it is wanted, if it is. */
function storeState(p: PassParams, bh: i32, firstSlice: i32, slices: i32, from: usize): void {
  const x = p.final;
  if (x.address == 0) return;
  const h = p.h;
  const d = p.d;
  const columns = p.stateColumns;
  const next = rowBytes(x);
  for (let s: i32 = 0; s < slices; s++, from += stateSliceBytes(p)) {
    const column = (firstSlice + s) * SLICE;
    const count = min(SLICE, columns - column);
    let row = rowAddress(x, bh / h, 0, bh % h) + (<usize>column << 2);
    const pastFeatures = from + (<usize>d << 5);
    for (let feature = from; feature < pastFeatures; feature += 32, row += next) {
      copyNumbers(feature, 4, row, count);
    }
    if (p.finalSums == 0 || count == SLICE) continue;
    const to = p.finalSums + (<usize>(bh * p.sumsWidth) << 2);
    const sums = from + (<usize>count << 2);
    for (let r: i32 = 0; r < d; r++) f32.store(to + (<usize>r << 2), f32.load(sums + (<usize>r << 5)));
  }
}

/** Up to eight numbers, `between` bytes apart, side by side. */
function copyNumbers(from: usize, between: usize, to: usize, count: i32): void {
  if (count == SLICE && between == 4) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    return;
  }
  for (let c: i32 = 0; c < count; c++, from += between, to += 4) f32.store(to, f32.load(from));
}
