/** Keys and values of tokens in pages: what caches keep and ops read where it lies. */
import type { Values } from '../../runtime/cpu/struct';
import type { Part, Written } from '../../tensor/outcome';
import type { Tensor } from '../../tensor/tensor';
import { type Page as declared, PAGE_ROWS, STORAGE } from './params';

/** How a cache stores rows; i8 has a scale for each row of a head. */
export type CacheDType = (typeof STORAGE)[number];

/** Where things lie in a page (params.ts). */
export type PageLayout = Values<typeof declared>;

const BYTES: Readonly<Record<CacheDType, number>> = { f32: 4, f16: 2, bf16: 2, i8: 1 };
/** Columns that kernels read at once. */
const VECTOR = 4;

export function pageLayout(dtype: CacheDType, heads: number, d: number, e: number): PageLayout {
  const [keyRow, valueRow] = [d, e].map((columns) => Math.ceil(columns / VECTOR) * VECTOR) as [number, number];
  const rows = heads * PAGE_ROWS;
  const values = rows * keyRow * BYTES[dtype];
  const keyScales = values + rows * valueRow * BYTES[dtype];
  const scales = dtype === 'i8' ? rows * 4 : 0;
  return {
    heads,
    d,
    e,
    dtype: STORAGE.indexOf(dtype),
    keyRow,
    valueRow,
    values,
    keyScales,
    valueScales: keyScales + scales,
    bytes: keyScales + 2 * scales,
  };
}

export const dtypeOf = ({ dtype }: PageLayout) => STORAGE[dtype] as CacheDType;

/** Memory for some pages. */
export interface Slab {
  /** The bits of whatever rows hold. */
  readonly memory: Tensor<'i32'>;
}

export interface Page {
  readonly slab: Slab;
  /** Its first byte in the slab. */
  readonly at: number;
  /** Who wrote which tokens of it. */
  readonly written: Written;
}

/** What a layer of a cache holds of a row; does not change. */
export interface CachedRow {
  /** Tokens appended, evicted ones among them: the position of the next. */
  readonly length: number;
  /** By the positions of their tokens; none where these were evicted. */
  readonly pages: readonly (Page | undefined)[];
}

/** The tokens of rows of which it is not known that what was appended is right. */
export function openTokens(rows: readonly CachedRow[]): Part[] {
  const parts: Part[] = [];
  for (const { length, pages } of rows)
    pages.forEach((page, at) => {
      if (page?.written.isOpen)
        parts.push({ written: page.written, from: 0, to: Math.min(PAGE_ROWS, length - at * PAGE_ROWS) });
    });
  return parts;
}

/** The memory that rows lie in, each once, by name. */
export function slabsOf(rows: readonly CachedRow[]): Record<string, Tensor<'i32'>> {
  const slabs = new Set(rows.flatMap(({ pages }) => pages.flatMap((page) => page?.slab ?? [])));
  return Object.fromEntries([...slabs].map(({ memory }, at) => [`slab ${at}`, memory]));
}
