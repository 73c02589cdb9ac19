/**
 * Recurrences in chunks of rows in WGSL: their states [heads, places + 1, d, e], e a multiple of 4 with zeros in columns to
 * spare, one before each chunk that is at hand and one after the last.
 */
import { u32s } from '../kernel';

export const STATES = u32s('places', 'd', 'e');

export const stateCode = `
fn state_at(head: u32, place: u32) -> u32 { return (head * (numbers.places + 1) + place) * numbers.d * numbers.e; }`;

/** `state_quad(state, row, column)`: four columns of a row, from a multiple of 4 on; zeros from row `rows` on. */
export const stateQuads = (rows: string) => `
fn state_quad(state: u32, row: u32, column: u32) -> vec4f {
  let is_quad = row < ${rows} && column < numbers.e;
  return select(vec4f(), load4_states(state + select(0, row * numbers.e + column, is_quad)), vec4<bool>(is_quad));
}`;

/** `state_element(state, row, column)`: one of them. */
export const stateElements = (rows: string) => `
fn state_element(state: u32, row: u32, column: u32) -> f32 {
  let is_element = row < ${rows} && column < numbers.e;
  return select(0.0, load_states(state + select(0, row * numbers.e + column, is_element)), is_element);
}`;

interface Chunks {
  /** Rows of a chunk. */
  readonly length: string;
  /** The head whose states come first, if it is not the first one. */
  readonly firstHead?: string;
  /** Rows and columns of a tile of the results, and of all of them where there are tiles. */
  readonly tile: number;
  readonly columns?: string;
  readonly rows?: string;
}

/**
 * What a task has: `chunk` of the head `place`, which is `head` of `batch`, with `count` rows from `first` on; of tiles of its
 * results also `first_column` and `first_row`.
 */
export function chunkCode({ length, firstHead, tile, columns, rows }: Chunks): string {
  const tiles = (extent: string) => `(${extent} + ${tile - 1}) / ${tile}`;
  const item = rows ? 'task / (across * down)' : columns ? 'task / across' : 'task';
  const whole = firstHead ? `(${firstHead} + place)` : 'place';
  return `
  ${columns ? `let across = ${tiles(columns)}; let first_column = task % across * ${tile};` : ''}
  ${rows ? `let down = ${tiles(rows)}; let first_row = task / across % down * ${tile};` : ''}
  let chunk = ${item} % numbers.chunks;
  let place = ${item} / numbers.chunks;
  let batch = ${whole} / numbers.h;
  let head = ${whole} % numbers.h;
  let first = numbers.first + chunk * ${length};
  let count = min(${length}, numbers.n - first);`;
}
