/**
 * Products of blocks in WGSL: 64 invocations share c [rows][columns] += sum over terms of left [term][row] right
 * [term][column], rows and columns being 32 or 64. An invocation keeps the rows 4 (lane / 8) to + 3, and 32 further ones
 * where there are 64, of the columns 4 (lane % 8) to + 3, and 32 further ones, in registers. The factors lie in workgroup
 * memory, `TERMS` terms at a time, as vectors of four rows or columns, quads; so do the results on their way out.
 *
 * Software adapters take long to compile what is long or branches: loads are clamped rather than skipped, and what each
 * invocation does several times is a loop.
 */

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

/** Fills in a factor whose terms lie side by side in memory: `quad(row, term)` is four terms of a row (or column). */
export function stageTransposed(factor: Factor, halves: 1 | 2, quad: (row: string, term: string) => string): string {
  return `
if (lane < ${32 * halves}u) {
  let term = 4 * (lane % 4);
  let row = 4 * (lane / 4);
  ${range(4)
    .map((r) => `let quad${r} = ${quad(`(row + ${r})`, 'term')};`)
    .join('\n  ')}
  ${range(4)
    .map(
      (t) =>
        `${factor(`(term + ${t})`, 'lane / 4')} = vec4f(${range(4)
          .map((r) => `quad${r}[${t}]`)
          .join(', ')});`,
    )
    .join('\n  ')}
}`;
}

/** Hands out the result by quads, 32 rows at a time: `put(row, column, quad)` is done for each once. */
export function unload(name: string, block: Block, put: (row: string, column: string, quad: string) => string): string {
  const { rows, columns } = block;
  const quads = 8 * columns;
  const keep = (p: number) =>
    range(4)
      .flatMap((r) =>
        range(columns).map(
          (q) => `slabs[(lane / 8 * 4 + ${r}) * ${quads} + lane % 8 + ${8 * q}] = ${name}${4 * p + r}_${q};`,
        ),
      )
      .join('\n    ');
  return `
for (var half = 0u; half < ${rows}u; half++) {
  workgroupBarrier();
  ${rows === 1 ? keep(0) : `if (half == 0) {\n    ${keep(0)}\n  } else {\n    ${keep(1)}\n  }`}
  workgroupBarrier();
  for (var at = lane; at < ${32 * quads}u; at += ${LANES}u) {
    let row = 32 * half + at / ${quads};
    let column = 4 * (at % ${quads});
    let quad = slabs[at];
    ${put('row', 'column', 'quad')}
  }
}`;
}

/** Numbers of an operand x [b,n,heads,columns] that is read by `row_x`. */
export const rowsNumbers = <Name extends string>(name: Name) =>
  ({ [`${name}_own`]: 'u32', [`${name}_width`]: 'u32', [`${name}_heads`]: 'u32' }) as Readonly<
    Record<`${Name}_${'own' | 'width' | 'heads'}`, 'u32'>
  >;

/**
 * Four columns of a row, from a multiple of 4 on; past the tensor's own there may be one of ones, then there are zeros,
 * as there are if the row is none. `head` is one of h.
 */
export const rowsCode = (name: string) => `
fn row_${name}(batch: u32, row: u32, is_row: bool, head: u32, column: u32) -> vec4f {
  let own = select(column, 0, column >= numbers.${name}_own);
  let at = at_${name}(batch, select(0, row, is_row), head * numbers.${name}_heads / numbers.h, own);
  let columns = vec4u(column) + vec4u(0, 1, 2, 3);
  let padded = select(vec4f(), vec4f(1), columns < vec4u(numbers.${name}_width));
  return select(vec4f(), select(padded, load4_${name}(at), columns < vec4u(numbers.${name}_own)), is_row);
}`;
