/** What a task of the gated delta rule keeps in its working memory, and what it knows of its share. */
import { ACROSS } from '../../runtime/wasm/assembly/product.as';
import { LARGEST_HEAD, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { CHUNK, Problem } from './params.generated.as';

/** Bytes of a row of numbers of all tokens. */
export const ROW: usize = ACROSS;
/** Bytes of six such rows, and of six tokens of a row. */
export const PANEL_ROWS: usize = <usize>PANEL * ROW;
export const PANEL_COLUMNS: usize = <usize>PANEL << 2;
/** Bytes of a panel's rows of a slice of eight columns. */
export const PANEL_SLICE: usize = <usize>PANEL << 5;

@inline
export function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}

/** Columns up to a whole number of panels. */
@inline
export function inPanels(columns: i32): i32 {
  return ((columns + PANEL - 1) / PANEL) * PANEL;
}

/** A task's share, some heads and of each some slices of value columns; and what of it is being computed. */
@unmanaged
export class Share {
  firstHead: i32;
  pastHead: i32;
  firstSlice: i32;
  pastSlice: i32;
  /** The chunk, its first token, how many it has, and these up to a whole number of panels. */
  chunk: i32;
  token: i32;
  count: i32;
  padded: i32;
  /** The head, through all batches. */
  place: i32;
  batch: i32;
  head: i32;
  /** The first token's row in [b, n, h]. */
  row: usize;
}

/** What the task takes, at the start of working memory, whose rows of zeros are written. */
export function startTask(p: Problem, task: i32, scratch: usize): Share {
  const t = changetype<Share>(scratch + SHARE);
  const parts = p.parts;
  const part = task % parts;
  const slices = slicesOf(p.e);
  t.firstHead = (task / parts) * p.group;
  t.pastHead = min(p.heads, t.firstHead + p.group);
  t.firstSlice = (slices * part) / parts;
  t.pastSlice = (slices * (part + 1)) / parts;
  memory.fill(scratch + KEYS - PANEL_ROWS, 0, PANEL_ROWS);
  memory.fill(scratch + KEY_STACK - PANEL_ROWS, 0, PANEL_ROWS);
  memory.fill(scratch + QUERY_STACK - PANEL_ROWS, 0, PANEL_ROWS);
  return t;
}

export function startChunk(p: Problem, t: Share, chunk: i32): void {
  const chunks = (p.every + p.length - 1) / p.length;
  t.chunk = chunk;
  t.token = (chunk / chunks) * p.every + (chunk % chunks) * p.length;
  t.count = min(p.length, min(p.n, t.token - (t.token % p.every) + p.every) - t.token);
  t.padded = inPanels(t.count);
}

export function startHead(p: Problem, t: Share, place: i32): void {
  t.place = place;
  t.batch = place / p.h;
  t.head = place % p.h;
  t.row = <usize>(t.batch * p.n + t.token) * <usize>p.h + <usize>t.head;
}

// A thread's working memory; each kernel has its own after OWN. Before the rows of features are six of zeros, which make up
// whole panels.
const SHARE: usize = 0;
export const LOGS: usize = SHARE + 64; // f64 [48]: G_i log2(e)
export const FROM_START: usize = LOGS + CHUNK * 8; // [48]: e^G_i
export const TO_END: usize = FROM_START + ROW; // [48]: e^(G_last - G_i)
export const BETAS: usize = TO_END + ROW; // [48]
export const SCALED_FROM_START: usize = BETAS + ROW; // [48]: scale e^G_i
export const NEGATIVE_FROM_START: usize = SCALED_FROM_START + ROW; // [48]: -e^G_i
export const SIX_FACTORS: usize = NEGATIVE_FROM_START + ROW; // [6]
export const BUFFER: usize = SIX_FACTORS + 32; // four rows as float32 numbers
export const ROW_BUFFER: usize = LARGEST_HEAD * 4;
export const KEYS: usize = BUFFER + 4 * ROW_BUFFER + PANEL_ROWS; // [d][48]
const STACK_BYTES: usize = <usize>(LARGEST_HEAD + CHUNK) * ROW;
export const KEY_STACK: usize = KEYS + <usize>LARGEST_HEAD * ROW + PANEL_ROWS; // [d][48], then -L
export const QUERY_STACK: usize = KEY_STACK + STACK_BYTES + PANEL_ROWS; // [d][48], then P
export const OWN: usize = QUERY_STACK + STACK_BYTES;

/** Bytes of a slice of eight columns of the chunk. */
export const SLICE_ROWS: usize = <usize>CHUNK << 5;
