/**
 * Products of staged blocks in WGSL: 64 invocations, 8 by 8, share sums [rows][columns] += a [term][row] b [term][column],
 * of 32 or 64 rows and columns. An invocation keeps in registers four rows from 4 (lane / 8) by four columns from 4 (lane % 8),
 * and those 32 further on. Factors are in workgroup memory as quads, vectors of four rows or columns.
 */

export const LANES = 64;
/** Terms staged at once. */
export const TERMS = 16;

/** Multiples of 32 rows or columns. */
export type Halves = 1 | 2;

export interface Block {
  readonly rows: Halves;
  readonly columns: Halves;
}

/** Quads from one term of a factor to the next, with a spare one against bank conflicts. */
export const strideOf = (halves: Halves) => 8 * halves + 1;

/** A quad of a term. */
export type Factor = (term: string, quad: string) => string;

/** A factor in workgroup memory, from quad `first` on. */
export const factorIn =
  (memory: string, halves: Halves, first: string | number = 0): Factor =>
  (term, quad) =>
    `${memory}[${first} + (${term}) * ${strideOf(halves)} + ${quad}]`;

/** 0, unknown to compilers: loops that start there are not unrolled, which would take long to compile. */
export const HIDDEN_ZERO = '(numbers.first_task / numbers.end_task)';

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** The sums of an invocation, row by row. */
export const sumsOf = (name: string, { rows, columns }: Block): readonly string[] =>
  range(4 * rows).flatMap((r) => range(columns).map((q) => `${name}${r}_${q}`));

export const clear = (name: string, block: Block) =>
  sumsOf(name, block)
    .map((sum) => `var ${sum} = vec4f();`)
    .join(' ');

/** Adds the product over the staged terms. */
export function multiply(name: string, { rows, columns }: Block, a: Factor, b: Factor): string {
  return `
for (var term = 0u; term < ${TERMS}u; term++) {
  ${range(rows)
    .map((p) => `let a${p} = ${a('term', `lane / 8 + ${8 * p}`)};`)
    .join(' ')}
  ${range(columns)
    .map((q) => `let b${q} = ${b('term', `lane % 8 + ${8 * q}`)};`)
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

/** Stages a factor: `quad(term, column)` is four columns of a term, from a multiple of 4 on. */
export function stage(factor: Factor, halves: Halves, quad: (term: string, column: string) => string): string {
  const quads = 8 * halves;
  return `
for (var at = lane; at < ${TERMS * quads}u; at += ${LANES}u) {
  ${factor(`at / ${quads}`, `at % ${quads}`)} = ${quad(`at / ${quads}`, `4 * (at % ${quads})`)};
}`;
}

/**
 * Stages a factor whose terms are adjacent in memory: `quad(row, term)` is four terms of a row, from a multiple of 4 on. Loops are
 * unrolled, which suits GPUs, unless they start at HIDDEN_ZERO.
 */
export function stageTransposed(
  factor: Factor,
  halves: Halves,
  start: string,
  quad: (row: string, term: string) => string,
): string {
  return `
if (lane < ${32 * halves}u) {
  var quads: mat4x4f;
  for (var i = ${start}; i < 4; i++) { quads[i] = ${quad('4 * (lane / 4) + i', '4 * (lane % 4)')}; }
  quads = transpose(quads);
  for (var i = ${start}; i < 4; i++) { ${factor('4 * (lane % 4) + i', 'lane / 4')} = quads[i]; }
}`;
}
