/** What the kernels of few queries share: the rows of a task, and where what is found of these lies. */
import type { Kernel } from '../../../../runtime/webgpu/kernel';
import type { CacheDType } from '../../../cache/layout';
import type { AttentionVariant } from '../../webgpu/common';
import { pagesSource, TENSORS } from '../../webgpu/sources';

export interface DecodeVariant extends AttentionVariant {
  readonly rows: number;
  /** How the pages of a cache are stored, if there is one. */
  readonly pages?: CacheDType | undefined;
}

/**
 * For each key/value head: how many query heads share a task and how many such groups a batch has, how many slots each has
 * of a tile, and in how many tasks these rows are. Parts of the keys, those of all dispatches, and the first of this one;
 * vectors of outputs, rounded up to a power of two, and how many invocations share each of these.
 */
export const NUMBERS: NonNullable<Kernel['numbers']> = {
  repeat: 'u32',
  together: 'u32',
  groups: 'u32',
  width: 'u32',
  chunks: 'u32',
  splits: 'u32',
  parts_of_row: 'u32',
  first_part: 'u32',
  quads: 'u32',
  key_groups: 'u32',
};

export const sourceOf = ({ pages }: DecodeVariant) => (pages ? pagesSource(pages) : TENSORS);

/**
 * The rows of a task, and where their parts lie: of each row of a part its outputs and those times 2^-69, then the maximum of
 * its scores, the sum of their exponentials, their kinds, and the largest that overflows (careful.ts).
 */
export const rowsCode = ({ rows }: DecodeVariant) => `
const ROWS = ${rows}u;
/// The kind of a part that was done with care: its maximum is in units of 1 and not of ln 2, its outputs are there times 2^-69 too.
const CAREFUL = 32u;
const LN2 = ${Math.LN2};

/// The rows of a task: their place but for the head, which is the first, and the first row of those that share the keys.
struct Rows { place: Place, first: u32 }
/// Without a query if there is no such row, or none in its slot of the tile.
struct Row { head: u32, slot: u32, query: i32, is_there: bool }

fn rows_of(task: u32) -> Rows {
  let at = task / numbers.chunks / numbers.map_owners;
  let batch = batch_at(at / numbers.groups);
  let head = at % numbers.groups * numbers.together;
  let row = masked_batch(batch) * numbers.h + head;
  let tile = owner_of(row, task / numbers.chunks % numbers.map_owners);
  return Rows(Place(batch, head, head / numbers.repeat, row, tile), task % numbers.chunks * ROWS);
}
fn row_of(rows: Rows, r: u32) -> Row {
  let at = rows.first + r;
  let slot = at % numbers.width;
  let is_there = at < numbers.together * numbers.width;
  return Row(
    rows.place.head + at / numbers.width, slot, select(-1, query_at(rows.place.tile * TILE + slot), is_there), is_there);
}
fn part_length() -> u32 { return 8 * numbers.quads + 4; }
fn part_at(task: u32, part: u32, r: u32) -> u32 {
  return ((task * numbers.parts_of_row + part) * ROWS + r) * part_length();
}`;
