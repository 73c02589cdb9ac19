/**
 * Where kernels find keys and values: in tensors, or in a slab of pages of a cache. A source gives
 *
 *   batch_at(i)          the batch of the i-th row of a dispatch
 *   masked_batch(batch)  the batch by which masks and scores know it
 *   base_of(place, panel)   where a panel of 32 keys is, -1 if it is not here; for tensors anything
 *   key_vector(place, base, key, c), value_vector(..)
 *                        four columns from c on of a key, zeros for key -1 and behind the last
 */
import type { Kernel } from '../../../runtime/webgpu/kernel';
import type { CacheDType } from '../../cache/layout';
import { pagesCode, SLAB_NUMBERS, slabOperand } from '../../cache/webgpu';
import { INPUTS } from './common';

export interface Source {
  readonly operands: Kernel['operands'];
  readonly numbers: NonNullable<Kernel['numbers']>;
  /** The first two functions, which need no keys. */
  readonly batches: string;
  readonly text: string;
}

const { k, v } = INPUTS as Record<'k' | 'v', Kernel['operands'][string]>;

export const TENSORS: Source = {
  operands: { k, v },
  numbers: {},
  batches: `
fn batch_at(i: u32) -> u32 { return i; }
fn masked_batch(batch: u32) -> u32 { return batch; }`,
  text: `
fn base_of(place: Place, panel: u32) -> i32 { return 0; }
fn key_vector(place: Place, base: i32, key: i32, c: u32) -> vec4f {
  let x = load4_k(at_k(place.batch, u32(max(key, 0)), place.key_head, c));
  return kept(x, select(0u, numbers.d - c, key >= 0));
}
fn value_vector(place: Place, base: i32, key: i32, c: u32) -> vec4f {
  let x = load4_v(at_v(place.batch, u32(max(key, 0)), place.key_head, c));
  return kept(x, select(0u, numbers.e - c, key >= 0));
}`,
};

/**
 * Its operand `pages` has the batches of dispatches, one after the other, from `pages_batches` on those of this one, and
 * from `pages_table` on pages by batch and panel, counted over all slabs, -1 for none; of them the slab has
 * `slab_pages` from `slab_first` on.
 */
export const pagesSource = (dtype: CacheDType): Source => ({
  operands: { slab: slabOperand(dtype), pages: { access: 'read' } },
  numbers: {
    ...SLAB_NUMBERS,
    pages_batches: 'u32',
    pages_table: 'u32',
    pages_of_row: 'u32',
    slab_first: 'i32',
    slab_pages: 'i32',
  },
  batches: `
fn batch_at(i: u32) -> u32 { return u32(load_pages(numbers.pages_batches + i)); }
fn masked_batch(batch: u32) -> u32 { return 0; }`,
  text: `
${pagesCode(dtype)}
fn base_of(place: Place, panel: u32) -> i32 {
  let page = load_pages(numbers.pages_table + place.batch * numbers.pages_of_row + panel) - numbers.slab_first;
  return select(-1, page, page >= 0 && page < numbers.slab_pages);
}
fn key_vector(place: Place, base: i32, key: i32, c: u32) -> vec4f {
  if (key < 0) { return vec4f(); }
  return cached_key(u32(base), place.key_head, u32(key) % PAGE_ROWS, c);
}
fn value_vector(place: Place, base: i32, key: i32, c: u32) -> vec4f {
  if (key < 0) { return vec4f(); }
  return cached_value(u32(base), place.key_head, u32(key) % PAGE_ROWS, c);
}`,
});
