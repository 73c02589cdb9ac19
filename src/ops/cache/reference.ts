/** Pages in host memory. */

import type { Host } from '../../runtime/op';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../../tensor/float16';
import type { Tensor } from '../../tensor/tensor';
import type { Page, PageLayout, Slab } from './layout';
import { PAGE_ROWS, STORAGE } from './params';

/** Tokens of k [b,n,heads,d] and v [b,n,heads,e], floats of any strides, into pages. */
export interface AppendCall {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly layout: PageLayout;
  readonly writes: readonly {
    /** `count` tokens of a batch, from `token` on. */
    readonly batch: number;
    readonly token: number;
    readonly count: number;
    readonly page: Page;
    /** The row of the page that the first goes to. */
    readonly row: number;
  }[];
}

/** Pages into others that take their place, since they are shared and one of the rows is to write; their first tokens count. */
export interface CopyPagesCall {
  readonly layout: PageLayout;
  readonly copies: readonly { readonly from: Page; readonly to: Page; readonly tokens: number }[];
}

/** Pages of a row, one behind the other, to k [1,m,heads,d] and v [1,m,heads,e], f32; zeros for those that are gone. */
export interface ReadCall {
  readonly layout: PageLayout;
  readonly pages: readonly (Page | undefined)[];
  readonly k: Tensor;
  readonly v: Tensor;
}

const [F32, F16, BF16, I8] = STORAGE.keys();

export function copyPages({ layout, copies }: CopyPagesCall, host: Host): void {
  const slabs = new Slabs(host);
  for (const { from, to } of copies) {
    const bytes = new Uint8Array(slabs.of(from.slab).buffer, from.at, layout.bytes);
    new Uint8Array(slabs.of(to.slab).buffer).set(bytes, to.at);
  }
  slabs.store(copies.map(({ to }) => to.slab));
}

export function append({ k, v, layout, writes }: AppendCall, host: Host): void {
  const slabs = new Slabs(host);
  const inputs = [host.numbers(k), host.numbers(v)] as const;
  const [, n, heads] = k.shape as [number, number, number];
  for (const { batch, token, count, page, row } of writes) {
    const view = slabs.of(page.slab);
    for (const [which, values] of inputs.entries()) {
      const part = partOf(layout, which);
      for (let head = 0; head < heads; head++)
        for (let r = 0; r < count; r++) {
          const from = ((batch * n + token + r) * heads + head) * part.columns;
          writeRow(view, page, part, layout.dtype, head, row + r, values.subarray(from, from + part.columns));
        }
    }
  }
  slabs.store(writes.map(({ page }) => page.slab));
}

export function read({ layout, pages, k, v }: ReadCall, host: Host): void {
  const slabs = new Slabs(host);
  for (const [which, out] of [k, v].entries())
    host.store(out, rowsOf(slabs, layout, pages, which, out.shape[1] as number));
}

/** Keys (0) or values (1) of the first `m` tokens in some pages, [m][heads][columns]. */
export function rowsOf(
  slabs: Slabs,
  layout: PageLayout,
  pages: ReadCall['pages'],
  which: number,
  m: number,
): Float64Array {
  const part = partOf(layout, which);
  const { heads } = layout;
  const result = new Float64Array(m * heads * part.columns);
  for (let token = 0; token < m; token++) {
    const page = pages[Math.floor(token / PAGE_ROWS)];
    if (!page) continue;
    const view = slabs.of(page.slab);
    for (let head = 0; head < heads; head++)
      result.set(
        readRow(view, page, part, layout.dtype, head, token % PAGE_ROWS),
        (token * heads + head) * part.columns,
      );
  }
  return result;
}

/** Slabs as bytes, each read once. */
export class Slabs {
  readonly #views = new Map<Slab, DataView>();

  constructor(readonly host: Host) {}

  of(slab: Slab): DataView {
    let view = this.#views.get(slab);
    if (!view) {
      view = new DataView(Int32Array.from(this.host.numbers(slab.memory)).buffer);
      this.#views.set(slab, view);
    }
    return view;
  }

  store(slabs: readonly Slab[]): void {
    for (const slab of new Set(slabs))
      this.host.store(slab.memory, Float64Array.from(new Int32Array(this.of(slab).buffer)));
  }
}

interface Part {
  readonly columns: number;
  readonly padded: number;
  readonly from: number;
  readonly scales: number;
}

function partOf({ d, e, keyRow, valueRow, values, keyScales, valueScales }: PageLayout, which: number): Part {
  return which === 0
    ? { columns: d, padded: keyRow, from: 0, scales: keyScales }
    : { columns: e, padded: valueRow, from: values, scales: valueScales };
}

function writeRow(
  view: DataView,
  page: Page,
  part: Part,
  dtype: number,
  head: number,
  row: number,
  x: Float64Array,
): void {
  const place = head * PAGE_ROWS + row;
  const at = (size: number, c: number) => page.at + part.from + (place * part.padded + c) * size;
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = Number.isFinite(largest) ? Math.fround(largest / 127) : Number.NaN;
  if (dtype === I8) view.setFloat32(page.at + part.scales + 4 * place, scale, true);
  for (const [c, value] of x.entries()) {
    if (dtype === F32) view.setFloat32(at(4, c), value, true);
    else if (dtype === F16) view.setUint16(at(2, c), toFloat16(value), true);
    else if (dtype === BF16) view.setUint16(at(2, c), toBfloat16(value), true);
    else view.setInt8(at(1, c), scale > 0 ? Math.max(-127, Math.min(127, Math.round(value / scale))) : 0);
  }
}

function readRow(view: DataView, page: Page, part: Part, dtype: number, head: number, row: number): Float64Array {
  const place = head * PAGE_ROWS + row;
  const at = (size: number, c: number) => page.at + part.from + (place * part.padded + c) * size;
  return Float64Array.from({ length: part.columns }, (_, c) => {
    if (dtype === F32) return view.getFloat32(at(4, c), true);
    if (dtype === F16) return fromFloat16(view.getUint16(at(2, c), true));
    if (dtype === BF16) return fromBfloat16(view.getUint16(at(2, c), true));
    return view.getFloat32(page.at + part.scales + 4 * place, true) * view.getInt8(at(1, c));
  });
}
