/**
 * Products of blocks in WGSL: 64 invocations share c [rows][columns] += sum over terms of left [term][row] right
 * [term][column], rows and columns being 32 or 64. An invocation keeps the rows 4 (lane / 8) to + 3, and 32 further ones
 * where there are 64, of the columns 4 (lane % 8) to + 3, and 32 further ones, in registers. The factors lie in workgroup
 * memory, `TERMS` terms at a time, as vectors of four rows or columns, quads; so do the results on their way out.
 *
 * Software adapters take long to compile what is long or branches: loads are clamped rather than skipped, and what each
 * invocation does several times is a loop.
 */
import type { Region } from '../kernel';

export const LANES = 64;
/** Terms that lie in workgroup memory at once. */
export const TERMS = 16;

/** How many times 32 rows and columns a product has. */
export interface Block {
  readonly rows: 1 | 2;
  readonly columns: 1 | 2;
}

/** Quads from one term to the next: one is spare, against conflicts of memory banks. */
const strideOf = (halves: 1 | 2) => 8 * halves + 1;

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** The workgroup memory of products of such blocks; a kernel has one. */
export const slabs = ({ rows, columns }: Block) =>
  `var<workgroup> slabs: array<vec4f, ${TERMS * (strideOf(rows) + strideOf(columns))}>;`;

export const clear = (name: string, { rows, columns }: Block) =>
  range(4 * rows)
    .map((r) =>
      range(columns)
        .map((q) => `var ${name}${r}_${q} = vec4f();`)
        .join(' '),
    )
    .join('\n');

/** Where a quad of rows or columns of a term lies. */
export type Factor = (term: string, quad: string) => string;

export const left =
  ({ rows }: Block): Factor =>
  (term, quad) =>
    `slabs[${term} * ${strideOf(rows)} + ${quad}]`;

export const right =
  ({ rows, columns }: Block): Factor =>
  (term, quad) =>
    `slabs[${TERMS * strideOf(rows)} + ${term} * ${strideOf(columns)} + ${quad}]`;

/** Adds the product over so many terms. */
export function multiply(
  name: string,
  block: Block,
  { a = left(block), b = right(block), terms = `${TERMS}u` }: { a?: Factor; b?: Factor; terms?: string } = {},
): string {
  const { rows, columns } = block;
  return `
for (var term = 0u; term < ${terms}; term++) {
  ${range(rows)
    .map((p) => `let a${p} = ${a('term', `(lane / 8 + ${8 * p})`)};`)
    .join(' ')}
  ${range(columns)
    .map((q) => `let b${q} = ${b('term', `(lane % 8 + ${8 * q})`)};`)
    .join(' ')}
  ${range(4 * rows)
    .flatMap((r) =>
      range(columns).map(
        (q) => `${name}${r}_${q} = fma(vec4f(a${Math.floor(r / 4)}[${r % 4}]), b${q}, ${name}${r}_${q});`,
      ),
    )
    .join('\n  ')}
}`;
}

/** Fills in a factor: `quad(term, column)` is four columns (or rows) of a term, from a multiple of 4 on. */
export function stage(factor: Factor, halves: 1 | 2, quad: (term: string, column: string) => string): string {
  const quads = 8 * halves;
  return `
for (var at = lane; at < ${TERMS * quads}u; at += ${LANES}u) {
  let term = at / ${quads}u;
  let column = 4 * (at % ${quads}u);
  ${factor('term', `at % ${quads}u`)} = ${quad('term', 'column')};
}`;
}

/** Fills in a factor whose terms lie side by side in memory: `element(row, term)` is one term of a row (or column). */
export function stageTransposed(factor: Factor, halves: 1 | 2, element: (row: string, term: string) => string): string {
  return `
for (var at = lane; at < ${TERMS * 8 * halves}u; at += ${LANES}u) {
  let term = at % ${TERMS}u;
  let row = 4 * (at / ${TERMS}u);
  ${factor('term', `at / ${TERMS}u`)} = vec4f(${range(4)
    .map((r) => element(`(row + ${r})`, 'term'))
    .join(', ')});
}`;
}

/** Hands out the result by quads, 32 rows and columns at a time: `put(row, column, quad)` is done for each once. */
export function unload(name: string, block: Block, put: (row: string, column: string, quad: string) => string): string {
  const { rows, columns } = block;
  const parts = range(rows * columns);
  // Which of its registers an invocation stores is chosen, not branched to: that compiles faster.
  const chosen = (r: number) =>
    parts.slice(1).reduce((before, part) => `select(${before}, ${nameOf(part, r)}, part == ${part})`, nameOf(0, r));
  const nameOf = (part: number, r: number) => `${name}${4 * Math.floor(part / columns) + r}_${part % columns}`;
  return `
for (var part = 0u; part < ${parts.length}; part++) {
  workgroupBarrier();
  ${range(4)
    .map((r) => `slabs[(lane / 8 * 4 + ${r}) * 8 + lane % 8] = ${chosen(r)};`)
    .join('\n  ')}
  workgroupBarrier();
  for (var at = lane; at < 256; at += ${LANES}) {
    let row = 32 * (part / ${columns}) + at / 8;
    let column = 32 * (part % ${columns}) + 4 * (at % 8);
    let quad = slabs[at];
    ${put('row', 'column', 'quad')}
  }
}`;
}

/** Numbers of an operand x [b,n,heads,columns] that is read by `quad_x` or `element_x`. */
export const rowsNumbers = <Name extends string>(name: Name) =>
  ({ [`${name}_own`]: 'u32', [`${name}_width`]: 'u32', [`${name}_heads`]: 'u32' }) as Readonly<
    Record<`${Name}_${'own' | 'width' | 'heads'}`, 'u32'>
  >;

/** These numbers for a tensor, and perhaps a column of ones. */
export function rowsValues(name: string, { shape }: Region, ones = false): Record<string, number> {
  const [, , heads, own] = shape as [number, number, number, number];
  return { [`${name}_own`]: own, [`${name}_width`]: own + Number(ones), [`${name}_heads`]: heads };
}

/**
 * Four columns of a row, from a multiple of 4 on; past the tensor's own there may be one of ones, then there are zeros,
 * as there are if the row is none. `head` is one of h.
 */
export const quadsCode = (name: string) => `
fn quad_${name}(batch: u32, row: u32, is_row: bool, head: u32, column: u32) -> vec4f {
  let own = select(column, 0, column >= numbers.${name}_own);
  let at = at_${name}(batch, select(0, row, is_row), head * numbers.${name}_heads / numbers.h, own);
  let columns = vec4u(column) + vec4u(0, 1, 2, 3);
  let padded = select(vec4f(), vec4f(1), columns < vec4u(numbers.${name}_width));
  return select(vec4f(), select(padded, load4_${name}(at), columns < vec4u(numbers.${name}_own)), vec4<bool>(is_row));
}`;

/** One of these columns. */
export const elementsCode = (name: string) => `
fn element_${name}(batch: u32, row: u32, is_row: bool, head: u32, column: u32) -> f32 {
  let is_own = column < numbers.${name}_own;
  let at = at_${name}(batch, select(0, row, is_row), head * numbers.${name}_heads / numbers.h, select(0, column, is_own));
  let padded = select(0.0, 1.0, column < numbers.${name}_width);
  return select(0.0, select(padded, load_${name}(at), is_own), is_row);
}`;
