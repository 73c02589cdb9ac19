/**
 * Products of blocks in WGSL, c [rows][columns] += sum over terms of a [term][row] b [term][column] (product.ts), of factors
 * in any place. GPUs stage them in workgroup memory, from which every number is read many times; CPUs, where staging takes
 * longer than it saves, read them in place.
 */
import type { Dispatch, Kernel, OperandSpec, Region } from '../kernel';
import {
  type Block,
  clear,
  type Factor,
  factorIn,
  HIDDEN_ZERO,
  LANES,
  multiply,
  stage,
  strideOf,
  sumsOf,
  TERMS,
} from './product';

/**
 * How a factor is read: four columns (or rows) of a term, from a multiple of 4 on; one term of a row (or column), for terms
 * that are adjacent in memory, perhaps with another source for the second 32 rows; or from workgroup memory. All but the last
 * must return zeros for terms that do not exist.
 */
export type Source =
  | { quad(term: string, column: string): string }
  | Elements
  | { halves: readonly [Elements, Elements] }
  | { held: Factor };

interface Elements {
  element(row: string, term: string): string;
}

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** The workgroup memory of such products, once per kernel. */
const memoryOf = ({ rows, columns }: Block, isStaged: boolean) =>
  isStaged ? `var<workgroup> staged: array<vec4f, ${TERMS * (strideOf(rows) + strideOf(columns))}>;` : '';

/** Adds the products over `terms` terms to the sums. */
export function accumulate(name: string, block: Block, terms: string, a: Source, b: Source, isStaged: boolean): string {
  return isStaged ? accumulateStaged(name, block, terms, a, b) : accumulateInPlace(name, block, terms, a, b);
}

function accumulateStaged(name: string, block: Block, terms: string, a: Source, b: Source): string {
  const { rows, columns } = block;
  const placeA = factorIn('staged', rows);
  const placeB = factorIn('staged', columns, TERMS * strideOf(rows));
  const later = (term: string) => `begin + ${term}`;
  const fill = (place: Factor, halves: 1 | 2, source: Source) => {
    if ('held' in source) return '';
    if ('quad' in source) return stage(place, halves, (term, column) => source.quad(later(term), column));
    if ('element' in source) return stageElements(place, 0, halves, (row, term) => source.element(row, later(term)));
    return source.halves
      .map(({ element }, half) => stageElements(place, half, 1, (row, term) => element(row, later(term))))
      .join('\n');
  };
  const read = (place: Factor, source: Source): Factor =>
    'held' in source ? (term, quad) => source.held(later(term), quad) : place;
  return `
for (var begin = 0u; begin < ${terms}; begin += ${TERMS}u) {
  workgroupBarrier();
  ${fill(placeA, rows, a)}
  ${fill(placeB, columns, b)}
  workgroupBarrier();
  ${multiply(name, block, read(placeA, a), read(placeB, b))}
}`;
}

/** Stages 32 rows for each of `halves`, from row 32 `first` on. */
function stageElements(
  place: Factor,
  first: number,
  halves: 1 | 2,
  element: (row: string, term: string) => string,
): string {
  return `
for (var at = lane; at < ${TERMS * 8 * halves}u; at += ${LANES}u) {
  let term = at % ${TERMS}u;
  let row = 4 * (at / ${TERMS}u);
  ${place('term', `at / ${TERMS}u + ${8 * first}`)} = ${fourOf('row', (row) => element(row, 'term'))};
}`;
}

function accumulateInPlace(name: string, block: Block, terms: string, a: Source, b: Source): string {
  const { rows, columns } = block;
  const quad = (source: Source, ofLane: string, half: number): string => {
    if ('halves' in source) return quad(source.halves[half] as Elements, ofLane, 0);
    const at = `${ofLane} + ${8 * half}`;
    if ('held' in source) return source.held('term', at);
    if ('quad' in source) return source.quad('term', `4 * (${at})`);
    return fourOf(`4 * (${at})`, (row) => source.element(row, 'term'));
  };
  return `
for (var term = 0u; term < ${terms}; term++) {
  ${range(rows)
    .map((p) => `let a${p} = ${quad(a, 'lane / 8', p)};`)
    .join(' ')}
  ${range(columns)
    .map((q) => `let b${q} = ${quad(b, 'lane % 8', q)};`)
    .join(' ')}
  ${sumsOf(name, block)
    .map((sum, at) => {
      const r = Math.floor(at / columns);
      return `${sum} = fma(vec4f(a${Math.floor(r / 4)}[${r % 4}]), b${at % columns}, ${sum});`;
    })
    .join('\n  ')}
}`;
}

const fourOf = (first: string, element: (at: string) => string) =>
  `vec4f(${range(4)
    .map((at) => element(`(${first} + ${at})`))
    .join(', ')})`;

/** Runs `put(row, column, quad)` once for each quad of the sums. Loops are not unrolled, which takes long to compile. */
export function unload(
  name: string,
  block: Block,
  isStaged: boolean,
  put: (row: string, column: string, quad: string) => string,
): string {
  const { rows, columns } = block;
  const sums = sumsOf(name, block);
  // The register is selected rather than branched to, which compiles faster.
  const chosen = (parts: readonly number[]) =>
    parts
      .slice(1)
      .reduce(
        (before, sum, at) => `select(${before}, ${sums[sum]}, part == ${at + 1})`,
        sums[parts[0] as number] as string,
      );
  if (!isStaged) {
    const each = range(4 * columns).map((at) => {
      const sum = rows === 2 ? `select(${sums[at]}, ${sums[at + 4 * columns]}, half == 1)` : sums[at];
      return `{
    let row = 32 * half + ${Math.floor(at / columns)} + 4 * (lane / 8);
    let column = ${32 * (at % columns)} + 4 * (lane % 8);
    let quad = ${sum};
    ${put('row', 'column', 'quad')}
  }`;
    });
    return `
for (var half = ${HIDDEN_ZERO}; half < ${rows}; half++) {
  ${each.join('\n  ')}
}`;
  }
  return `
for (var part = 0u; part < ${rows * columns}; part++) {
  workgroupBarrier();
  ${range(4)
    .map((r) => {
      const parts = range(rows * columns).map(
        (part) => (4 * Math.floor(part / columns) + r) * columns + (part % columns),
      );
      return `staged[(lane / 8 * 4 + ${r}) * 8 + lane % 8] = ${chosen(parts)};`;
    })
    .join('\n  ')}
  workgroupBarrier();
  for (var at = lane; at < 256; at += ${LANES}) {
    let row = 32 * (part / ${columns}) + at / 8;
    let column = 32 * (part % ${columns}) + 4 * (at % 8);
    let quad = staged[at];
    ${put('row', 'column', 'quad')}
  }
}`;
}

/** A product in place: sums of so many terms, handed out by `put`. */
export const multiplied = (
  block: Block,
  isStaged: boolean,
  terms: string,
  [a, b]: readonly [Source, Source],
  put: (row: string, column: string, quad: string) => string,
): string => `
  ${clear('sum', block)}
  ${accumulate('sum', block, terms, a, b, isStaged)}
  ${unload('sum', block, isStaged, put)}`;

/** How a kernel reads an operand x [b,n,heads,columns]: four columns of a row by `quad_x`, or one by `element_x`. */
export type Reading = 'quads' | 'elements';

interface ProductKernel extends Pick<Kernel, 'name' | 'alike' | 'operands' | 'numbers'> {
  readonly block: Block;
  readonly isStaged: boolean;
  /** Operands that it reads by rows. */
  readonly rows: Readonly<Record<string, Reading>>;
  readonly body: readonly string[];
}

/** A kernel of products, whose body comes after what they need. */
export function productKernel({
  alike = true,
  block,
  isStaged,
  rows,
  operands,
  numbers,
  body,
  ...others
}: ProductKernel): Kernel {
  const read = rowsCode(rows);
  return {
    ...others,
    invocations: LANES,
    alike,
    operands: { ...read.operands, ...operands },
    numbers: { ...numbers, ...read.numbers },
    body: [memoryOf(block, isStaged), read.text, ...body].join('\n'),
  };
}

/** What a kernel declares to read operands by rows, and the functions that do. */
export function rowsCode(rows: Readonly<Record<string, Reading>>) {
  const names = Object.keys(rows);
  const spec = (how: Reading | undefined): OperandSpec =>
    how === 'quads' ? { access: 'read', rank: 4, vector: true } : { access: 'read', rank: 4 };
  return {
    operands: Object.fromEntries(names.map((name) => [name, spec(rows[name])])),
    numbers: Object.fromEntries(
      names.flatMap((name) => ['own', 'width', 'heads'].map((number) => [`${name}_${number}`, 'u32' as const])),
    ),
    text: names.map((name) => (rows[name] === 'quads' ? quadsCode(name) : elementsCode(name))).join('\n'),
  };
}

/** An operand, perhaps with a column of ones. */
export interface Rows {
  readonly region: Region;
  readonly ones: boolean;
}

type Given = Omit<Dispatch, 'operands'> & { readonly operands: Readonly<Record<string, Region | Rows>> };

/** A dispatch of a kernel that reads some operands by rows, with the numbers that they need. */
export function rowsDispatch({ operands, numbers, ...others }: Given): Dispatch {
  const given = Object.entries(operands).map(
    ([name, x]) => [name, 'region' in x ? x : { region: x, ones: false }] as const,
  );
  const values = given
    .filter(([name]) => `${name}_own` in (others.kernel.numbers ?? {}))
    .flatMap(([name, { region, ones }]) => {
      const [, , heads, own] = region.shape as [number, number, number, number];
      return Object.entries({ own, width: own + Number(ones), heads }).map(([what, value]) => [
        `${name}_${what}`,
        value,
      ]);
    });
  return {
    ...others,
    operands: Object.fromEntries(given.map(([name, { region }]) => [name, region])),
    numbers: { ...numbers, ...Object.fromEntries(values) },
  };
}

/**
 * Four columns of a row, from a multiple of 4 on: after the tensor's own perhaps one of ones, then zeros, and only zeros if
 * it is no row. `head` is one of h.
 */
const quadsCode = (name: string) => `
fn quad_${name}(batch: u32, row: u32, is_row: bool, head: u32, column: u32) -> vec4f {
  let own = select(column, 0, column >= numbers.${name}_own);
  let at = at_${name}(batch, select(0, row, is_row), head * numbers.${name}_heads / numbers.h, own);
  let columns = vec4u(column) + vec4u(0, 1, 2, 3);
  let padded = select(vec4f(), vec4f(1), columns < vec4u(numbers.${name}_width));
  return select(vec4f(), select(padded, load4_${name}(at), columns < vec4u(numbers.${name}_own)), vec4<bool>(is_row));
}`;

/** One such column. */
const elementsCode = (name: string) => `
fn element_${name}(batch: u32, row: u32, is_row: bool, head: u32, column: u32) -> f32 {
  let is_own = column < numbers.${name}_own;
  let at = at_${name}(batch, select(0, row, is_row), head * numbers.${name}_heads / numbers.h, select(0, column, is_own));
  let padded = select(0.0, 1.0, column < numbers.${name}_width);
  return select(0.0, select(padded, load_${name}(at), is_own), is_row);
}`;
