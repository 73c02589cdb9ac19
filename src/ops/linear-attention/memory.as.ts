/** What a task of linear attention keeps in its working memory, and what it knows of its chunk. */
import { ACROSS } from '../../runtime/wasm/assembly/product.as';
import { MOST_HEADS, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { CHUNK, PassParams } from './params.generated.as';

export const CHUNK_ROW: usize = ACROSS;
/** 256 features or columns and the normaliser's one, in whole panels and slices; the host takes more in blocks. */
export const WIDEST: i32 = 264;
export const WIDEST_ROW: usize = <usize>WIDEST * 4;
/** Powers of a decay that a chunk needs. */
export const POWER_COUNT: i32 = CHUNK + 1;
/** Less is no weight: numbers that small are slow to compute with. */
export const LEAST_DECAY: f64 = 7.888609052210118e-31; // 2^-100

// A head's table. Row i of decay^(i - j), with 0 above the diagonal, begins 47 - i numbers after the start.
export const POWERS: usize = 2 * CHUNK_ROW; // decay^0 to decay^48
const TABLE_BYTES: usize = (POWERS + <usize>POWER_COUNT * 4 + 15) & ~15;

// A thread's working memory.
export const POINTERS: usize = 0; // addresses of 48 rows
export const ZEROS: usize = POINTERS + <usize>CHUNK * 4;
export const CONVERTED: usize = ZEROS + WIDEST_ROW; // rows that do not lie in memory as f32
const QUERY_PANELS: usize = CONVERTED + <usize>CHUNK * WIDEST_ROW; // [8 panels][d][6]
export const KEY_SLICES: usize = QUERY_PANELS + <usize>CHUNK * WIDEST_ROW; // [6 slices][d][8]
export const KEY_ROWS: usize = KEY_SLICES + <usize>CHUNK * WIDEST_ROW; // [48][d in whole panels], decayed to the chunk's end
export const VALUES: usize = KEY_ROWS + <usize>CHUNK * WIDEST_ROW; // [slices][48][8]
export const RESULTS: usize = VALUES + <usize>CHUNK * WIDEST_ROW; // [slices][48][8]
export const SCORES: usize = RESULTS + <usize>CHUNK * WIDEST_ROW; // [48 queries][48 keys]
export const CARRY: usize = SCORES + <usize>CHUNK * CHUNK_ROW; // a chunk's decay of the state, six times
export const TASK: usize = CARRY + 32;
const TABLES: usize = TASK + 48; // of each head
export const LINEAR_BYTES: usize = TABLES + <usize>MOST_HEADS * TABLE_BYTES;

@inline
export function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}

@inline
export function panelsOf(rows: i32): i32 {
  return (rows + PANEL - 1) / PANEL;
}

/** Bytes of a slice of the state. */
@inline
export function stateSliceBytes(p: PassParams): usize {
  return <usize>(panelsOf(p.d) * PANEL) << 5;
}

@inline
export function stateAt(p: PassParams, bh: i32, segment: i32, slice: i32): usize {
  const place = (bh * p.segments + segment) * slicesOf(p.e) + slice;
  return p.states + <usize>place * stateSliceBytes(p);
}

/** What a task takes, some slices of value columns of some heads, and what of it is being computed. */
@unmanaged
export class Task {
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

@inline
export function tableOf(head: i32, scratch: usize): usize {
  return scratch + TABLES + <usize>head * TABLE_BYTES;
}

@inline
export function panelAt(scratch: usize, panel: i32, d: i32): usize {
  return scratch + QUERY_PANELS + <usize>(panel * d * PANEL * 4);
}

@inline
export function decayOf(p: PassParams, bh: i32): f64 {
  return f64.load(p.decays + (<usize>(bh % p.h) << 3));
}
