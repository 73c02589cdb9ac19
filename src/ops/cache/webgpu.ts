/** Rows of keys and values into pages and out of them, on a GPU: a dispatch for each slab. */

import { groupBy } from '../../group-by';
import { rounding } from '../../runtime/webgpu/convert';
import { type Dispatch, type Kernel, type OperandSpec, type Region, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { type CacheDType, dtypeOf, type Page, type PageLayout, type Slab } from './layout';
import { PAGE_ROWS, WRITE_LENGTH } from './params.generated';
import type { AppendCall, CopyPagesCall, ReadCall } from './reference';

const INVOCATIONS = 64;
const WORD_BYTES = 4;

/** What kernels that read or write pages have as numbers, in elements, for 8-bit integers in words. */
export const SLAB_NUMBERS: NonNullable<Kernel['numbers']> = {
  page_size: 'u32',
  key_row: 'u32',
  value_row: 'u32',
  page_values: 'u32',
  key_scales: 'u32',
  value_scales: 'u32',
};

const elementBytes = (dtype: CacheDType) => (dtype === 'f32' || dtype === 'i8' ? WORD_BYTES : 2);

export function slabNumbers(layout: PageLayout): Record<string, number> {
  const dtype = dtypeOf(layout);
  const size = elementBytes(dtype);
  const packed = dtype === 'i8' ? 4 : 1;
  return {
    page_size: layout.bytes / size,
    page_values: layout.values / size,
    key_row: layout.keyRow / packed,
    value_row: layout.valueRow / packed,
    key_scales: layout.keyScales / size,
    value_scales: layout.valueScales / size,
  };
}

/** A slab that is read. */
export const slabOperand = (dtype: CacheDType): OperandSpec => ({ access: 'read', vector: dtype !== 'i8' });

/** The elements of a slab, for 8-bit integers its words. */
export function slabRegion({ memory: { storage, shape } }: Slab, layout: PageLayout): Region {
  const dtype = dtypeOf(layout);
  const elements = ((shape[0] as number) * WORD_BYTES) / elementBytes(dtype);
  return { storage, dtype: dtype === 'i8' ? 'i32' : dtype, shape: [elements], strides: [1], offset: 0 };
}

/** The place of a page in its slab. */
export const pageIndex = ({ at }: Page, { bytes }: PageLayout) => at / bytes;

/** `cached_key` and `cached_value` in kernels with a slab: four columns from c on of a row of a page. */
export function pagesCode(dtype: CacheDType): string {
  const reader = (name: string, row: string, first: string, scales: string) => {
    const place = `let place = head * PAGE_ROWS + row;\n  let at = page * numbers.page_size`;
    return `
fn ${name}(page: u32, head: u32, row: u32, c: u32) -> vec4f {
  ${place};
  ${
    dtype === 'i8'
      ? `let word = load_slab(at${first} + place * ${row} + c / 4);
  let scale = bitcast<f32>(load_slab(at + ${scales} + place));
  return scale * vec4f((vec4i(word) << vec4u(24, 16, 8, 0)) >> vec4u(24));`
      : `return load4_slab(at${first} + place * ${row} + c);`
  }
}`;
  };
  return `
const PAGE_ROWS = ${PAGE_ROWS}u;
${reader('cached_key', 'numbers.key_row', '', 'numbers.key_scales')}
${reader('cached_value', 'numbers.value_row', ' + numbers.page_values', 'numbers.value_scales')}`;
}

/** A workgroup copies so many words of a page. */
const COPIED_WORDS = 64 * INVOCATIONS;

const copyKernel: Kernel = {
  name: 'copy pages of a cache',
  invocations: INVOCATIONS,
  operands: { from: { access: 'read' }, to: { access: 'write' }, pairs: { access: 'read' } },
  numbers: { page_words: 'u32', parts: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let pair = 2 * (task / numbers.parts);
  let source = u32(load_pairs(pair)) * numbers.page_words;
  let place = u32(load_pairs(pair + 1)) * numbers.page_words;
  let first = task % numbers.parts * ${COPIED_WORDS};
  for (var i = first + lane; i < min(first + ${COPIED_WORDS}, numbers.page_words); i += ${INVOCATIONS}) {
    store_to(place + i, load_from(source + i));
  }
}`,
};

/** A workgroup for each head and each page that is written to. */
const appendKernel = variants(
  (dtype: CacheDType): Kernel => ({
    name: `append to a cache in ${dtype}`,
    invocations: INVOCATIONS,
    operands: {
      k: { access: 'read', rank: 4, vector: true },
      v: { access: 'read', rank: 4, vector: true },
      writes: { access: 'read' },
      slab: { access: 'write' },
    },
    numbers: { heads: 'u32', d: 'u32', e: 'u32', ...SLAB_NUMBERS },
    alike: true,
    body: `
${dtype === 'f16' || dtype === 'bf16' ? rounding(dtype) : functions('is_positive', 'not_a_number')}
var<workgroup> largest: array<atomic<u32>, 2>;

fn kept(x: vec4f, count: u32) -> vec4f { return select(vec4f(), x, vec4u(0, 1, 2, 3) < vec4u(count)); }

fn run(task: u32, lane: u32) {
  let head = task % numbers.heads;
  let write = task / numbers.heads * ${WRITE_LENGTH};
  let batch = u32(load_writes(write));
  let token = u32(load_writes(write + 1));
  let count = u32(load_writes(write + 2));
  let page = u32(load_writes(write + 3)) * numbers.page_size;
  let first = head * ${PAGE_ROWS} + u32(load_writes(write + 4));
  let keys = (numbers.d + 3) / 4;
  for (var r = 0u; r < count; r++) {
    ${
      dtype === 'i8'
        ? `
    workgroupBarrier();
    if (lane < 2) { atomicStore(&largest[lane], 0); }
    workgroupBarrier();
    for (var i = lane; i < keys + (numbers.e + 3) / 4; i += ${INVOCATIONS}) {
      let size = bitcast<vec4u>(row_vector(batch, token + r, head, keys, i)) & vec4u(0x7fffffff);
      atomicMax(&largest[select(1, 0, i < keys)], max(max(size.x, size.y), max(size.z, size.w)));
    }
    workgroupBarrier();`
        : ''
    }
    for (var i = lane; i < keys + (numbers.e + 3) / 4; i += ${INVOCATIONS}) {
      let x = row_vector(batch, token + r, head, keys, i);
      let is_key = i < keys;
      let c = select(i - keys, i, is_key);
      let place = first + r;
      let row = page + place * select(numbers.value_row, numbers.key_row, is_key) + select(numbers.page_values, 0, is_key);
      ${WRITES[dtype]}
    }
  }
}

fn row_vector(batch: u32, token: u32, head: u32, keys: u32, i: u32) -> vec4f {
  if (i < keys) { return kept(load4_k(at_k(batch, token, head, 4 * i)), numbers.d - 4 * i); }
  return kept(load4_v(at_v(batch, token, head, 4 * (i - keys))), numbers.e - 4 * (i - keys));
}`,
  }),
);

const HALVES = `
      let bits = vec4u(rounded(x.x), rounded(x.y), rounded(x.z), rounded(x.w));
      store_slab(row / 2 + 2 * c, bitcast<i32>(bits.x | (bits.y << 16)));
      store_slab(row / 2 + 2 * c + 1, bitcast<i32>(bits.z | (bits.w << 16)));`;

/** What is done with vector `c` of a row, from `row` on. */
const WRITES: Readonly<Record<CacheDType, string>> = {
  f32: 'for (var j = 0u; j < 4; j++) { store_slab(row + 4 * c + j, bitcast<i32>(x[j])); }',
  f16: HALVES,
  bf16: HALVES,
  // Numbers whose scale may be no normal number are made larger first.
  i8: `
      let most = bitcast<f32>(atomicLoad(&largest[select(1, 0, is_key)]));
      let is_finite = bitcast<u32>(most) < 0x7f800000;
      let lift = select(1.0, 1.2676506e30, most < 7.8886091e-31);
      let levels = clamp(round(x * lift * (127.0 / (most * lift))), vec4f(-127), vec4f(127));
      let bytes = vec4u(select(vec4i(), vec4i(levels), is_finite && is_positive(most * lift))) & vec4u(255);
      store_slab(row + c, bitcast<i32>(bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24)));
      if (c == 0) {
        let scales = select(numbers.value_scales, numbers.key_scales, is_key);
        store_slab(page + scales + place, bitcast<i32>(select(not_a_number(), most / 127.0, is_finite)));
      }`,
};

export function planCopies({ layout, copies }: CopyPagesCall, workspace: Workspace): Plan {
  const words = layout.bytes / WORD_BYTES;
  const parts = Math.ceil(words / COPIED_WORDS);
  const dispatches: Dispatch[] = [];
  for (const [from, ofSource] of groupBy(copies, (copy) => copy.from.slab)) {
    for (const [to, pairs] of groupBy(ofSource, (copy) => copy.to.slab)) {
      const places = pairs.flatMap((pair) => [pageIndex(pair.from, layout), pageIndex(pair.to, layout)]);
      dispatches.push({
        kernel: copyKernel,
        operands: { from: from.memory, to: to.memory, pairs: workspace.upload(Int32Array.from(places)) },
        numbers: { page_words: words, parts },
        tasks: parts * pairs.length,
        operations: words * pairs.length,
      });
    }
  }
  return { dispatches };
}

export function planAppend({ k, v, layout, writes }: AppendCall, workspace: Workspace): Plan {
  const { heads, d, e } = layout;
  const dispatches: Dispatch[] = [];
  for (const [slab, own] of groupBy(writes, ({ page }) => page.slab)) {
    const numbers = own.flatMap(({ batch, token, count, page, row }) => [
      ...[batch, token, count, pageIndex(page, layout), row],
    ]);
    dispatches.push({
      kernel: appendKernel(dtypeOf(layout)),
      operands: { k, v, writes: workspace.upload(Int32Array.from(numbers)), slab: slab.memory },
      numbers: { heads, d, e, ...slabNumbers(layout) },
      tasks: heads * own.length,
      operations: 20 * heads * (d + e) * own.reduce((sum, { count }) => sum + count, 0),
    });
  }
  return { dispatches };
}

/** A workgroup for each head and page. */
const readKernel = variants(
  (dtype: CacheDType): Kernel => ({
    name: `read a cache in ${dtype}`,
    invocations: INVOCATIONS,
    operands: {
      slab: slabOperand(dtype),
      pages: { access: 'read' },
      k: { access: 'write', rank: 4, vector: true },
      v: { access: 'write', rank: 4, vector: true },
    },
    numbers: { heads: 'u32', d: 'u32', e: 'u32', rows: 'u32', ...SLAB_NUMBERS },
    alike: true,
    body: `
${pagesCode(dtype)}
fn run(task: u32, lane: u32) {
  let head = task % numbers.heads;
  let at = 2 * (task / numbers.heads);
  let first = u32(load_pages(at)) * PAGE_ROWS;
  let page = load_pages(at + 1);
  let keys = (numbers.d + 3) / 4;
  let vectors = keys + (numbers.e + 3) / 4;
  for (var i = lane; i < min(PAGE_ROWS, numbers.rows - first) * vectors; i += ${INVOCATIONS}) {
    let row = i / vectors;
    var c = i % vectors * 4;
    var x = vec4f();
    if (c < 4 * keys) {
      if (page >= 0) { x = cached_key(u32(page), head, row, c); }
      store4_k(at_k(0, first + row, head, c), x, numbers.d - c);
    } else {
      c -= 4 * keys;
      if (page >= 0) { x = cached_value(u32(page), head, row, c); }
      store4_v(at_v(0, first + row, head, c), x, numbers.e - c);
    }
  }
}`,
  }),
);

export function planRead({ layout, pages, k, v }: ReadCall, workspace: Workspace): Plan {
  const { heads, d, e } = layout;
  // What is gone is written beside the pages of any slab; the last page never is.
  const last = pages.at(-1)?.slab;
  const bySlab = groupBy(pages.entries(), ([, page]) => page?.slab ?? last);
  return {
    dispatches: [...bySlab].map(([slab, own]) => ({
      kernel: readKernel(dtypeOf(layout)),
      operands: {
        slab: slabRegion(slab as Slab, layout),
        k,
        v,
        pages: workspace.upload(
          Int32Array.from(own.flatMap(([at, page]) => [at, page ? pageIndex(page, layout) : -1])),
        ),
      },
      numbers: { heads, d, e, rows: k.shape[1] as number, ...slabNumbers(layout) },
      tasks: heads * own.length,
      operations: 10 * own.length * PAGE_ROWS * heads * (d + e),
    })),
  };
}
