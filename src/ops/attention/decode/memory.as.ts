/** A thread's working memory in decoding, and where queries, sums, keys and values lie. */
import { CHUNK, ROW_BYTES } from '../../../expressions/params.generated.as';
import { I8 } from '../../cache/params.generated.as';
import { DECODE_KEYS, DECODE_LIST_LENGTH, DECODE_ROW_LENGTH, DECODE_SEGMENT_LENGTH, DecodeParams } from '../params.generated.as';
import { Block, PROGRAM_SCRATCH } from '../score/program.as';
import { LARGEST_HEAD, Operand } from '../../../runtime/cpu/params.generated.as';
import { bytesOf } from '../../../runtime/wasm/assembly/storage.as';

export const LOG2E: f64 = 1.4426950408889634;
export const NO_MAXIMUM: f32 = -1e30;
/** Beyond it scores and outputs are left to float64. */
export const ORDINARY: f32 = 1e29;

// Behind the sums of a group, of its four rows: the maxima, the sums of weights, and whether they are exceptional.
export const MAXIMA: usize = 0;
export const SUMS: usize = 16;
export const EXCEPTIONAL: usize = 32;
export const STATE_BYTES: usize = 48;

export const SCORES: usize = 0; // [48 + 1][4]
export const KEY_ROWS: usize = SCORES + <usize>(DECODE_KEYS + 1) * 16; // [48][256], where rows are copied
export const VALUE_ROWS: usize = KEY_ROWS + <usize>(DECODE_KEYS * LARGEST_HEAD * 4);
export const FETCHED: usize = VALUE_ROWS + <usize>(DECODE_KEYS * LARGEST_HEAD * 4); // where keys and values are fetched from next: two each
export const SINK: usize = FETCHED + 16;
export const WEIGHTS: usize = SINK + 16; // [48][4][4], in four lanes each
export const KEY_NUMBERS: usize = WEIGHTS + <usize>DECODE_KEYS * 64; // [24] i32
export const QUERY_NUMBERS: usize = KEY_NUMBERS + ROW_BYTES; // [n] i32, in chunks
export const MODIFIED: usize = QUERY_NUMBERS + CHUNK * 4; // [12 queries][24 keys]
export const BLOCK: usize = (MODIFIED + CHUNK * ROW_BYTES + 15) & ~15;
export const PROGRAM: usize = (BLOCK + offsetof<Block>() + 15) & ~15;
export const DOUBLES: usize = (PROGRAM + PROGRAM_SCRATCH + 15) & ~15; // [256] f64
/** What comes after is a hook's. */
export const DECODE_BYTES: usize = DOUBLES + LARGEST_HEAD * 8;

@inline
export function hookOf<H>(scratch: usize): H {
  return changetype<H>(scratch + DECODE_BYTES);
}

@inline
export function fours(columns: i32): i32 {
  return (columns + 3) >> 2;
}

/** Groups of four rows against a key/value head. */
@inline
export function groupsOf<H>(p: DecodeParams): i32 {
  const queries = changetype<H>(0).queries;
  return ((p.h / p.g) * p.n + queries - 1) / queries;
}

@inline
export function partBytes(p: DecodeParams): usize {
  return <usize>fours(p.e) * 64 + STATE_BYTES;
}

@inline
export function queriesAt<H>(p: DecodeParams, bg: i32): usize {
  return p.queries + <usize>(bg * groupsOf<H>(p)) * (<usize>fours(p.d) * 64);
}

/** The sums of a key/value head and a split. */
@inline
export function partAt<H>(p: DecodeParams, bg: i32, split: i32): usize {
  return p.parts + <usize>(bg * p.splits + split) * <usize>groupsOf<H>(p) * partBytes(p);
}

@inline
export function rowOf(p: DecodeParams, batch: i32): usize {
  return p.rows + <usize>(batch * DECODE_ROW_LENGTH * 4);
}

@inline
export function listOf(p: DecodeParams, batch: i32, head: i32): usize {
  const list = i32.load(p.maps + (<usize>(batch * p.h + head) << 2));
  return p.lists + <usize>(list * DECODE_LIST_LENGTH * 4);
}

@inline
export function segmentAt(p: DecodeParams, at: i32): usize {
  return p.segments + <usize>(at * DECODE_SEGMENT_LENGTH * 4);
}

@inline
export function elementBytes(dtype: i32): usize {
  return dtype == I8 ? 1 : bytesOf(dtype);
}

/** The key/value head of a group. */
@inline
export function keyHead(p: DecodeParams, group: i32): i32 {
  return (group * p.keyHeads) / p.g;
}

/** The page of a batch that row `key` is in. */
@inline
function pageOf(p: DecodeParams, batch: i32, key: i32): usize {
  return <usize>i32.load(p.pages + (<usize>(batch * p.pagesOfRow + key / p.pageRows) << 2));
}

/** Where row `key` of a group's head lies. */
@inline
export function keyRow(p: DecodeParams, x: Operand, batch: i32, key: i32, group: i32): usize {
  const head = keyHead(p, group);
  if (p.pages == 0)
    return x.address + (<usize>batch * x.batch + <usize>key * x.row + <usize>head * x.head) * bytesOf(x.dtype);
  return pageOf(p, batch, key) + x.address + (<usize>(key % p.pageRows) * x.row + <usize>head * x.head) * elementBytes(x.dtype);
}

/** Where the scale of row `key` of a group's head in a cache lies; `scales` are bytes within a page. */
@inline
export function scaleAt(p: DecodeParams, scales: usize, batch: i32, key: i32, group: i32): usize {
  return pageOf(p, batch, key) + scales + (<usize>(keyHead(p, group) * p.pageRows + (key % p.pageRows)) << 2);
}
