/**
 * Kernels over rows of vectors, which lanes share. What they do with a row may call
 *
 *   sum_of(vec2f), largest_of(u32)   over the lanes that share the row
 *   kept(values, count, rest)        a vector whose elements beyond the row's end are `rest`
 *   total(values)                    the sum of a vector's elements
 *   rank_of(f32), number_of(u32)     to integers in the order of the numbers, with NaN last, and back
 */
import { sizeOf } from '../../../tensor/shape';
import type { Dispatch, Kernel, Region } from '../kernel';
import type { Workspace } from '../plan';
import { type FunctionName, functions } from './functions';
import { reductions } from './reductions';

/** The lanes that share a row. */
export interface Team {
  /** One, or all of a workgroup. */
  readonly lanes: 1 | 8 | 64 | 256;
  readonly subgroups: boolean;
}

/** Invocations of a workgroup whose lanes take a row each. */
const LONE_LANES = 64;
/** Rows of at most so many elements are taken by one lane. */
const LONE_COLUMNS = 32;
/** On a CPU, where lanes take turns and waiting is expensive, lanes take a row each from so many rows on. */
const MANY_ROWS = 128;
/** Rows of at least so many elements get four times the lanes. */
const LONG_COLUMNS = 4096;

/** For operands with the row's elements. */
export const READ = { access: 'read', vector: true } as const;
export const WRITE = { access: 'write', vector: true } as const;

/** `rank_of` and `number_of`, which need `is_nan`. */
export const RANKS = `fn rank_of(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(select(bits | 0x80000000, ~bits, (bits >> 31) == 1), 0xffffffff, is_nan(x));
}
fn number_of(rank: u32) -> f32 {
  return bitcast<f32>(select(~rank, rank & 0x7fffffff, (rank >> 31) == 1));
}`;

interface RowWork {
  readonly name: string;
  readonly team: Team;
  readonly operands: Kernel['operands'];
  readonly numbers?: Kernel['numbers'];
  readonly needs?: readonly FunctionName[];
  /** Further functions. */
  readonly head?: string;
  /** Whether a row is `numbers.runs` runs of columns, interleaved with those of `numbers.groups` rows. */
  readonly inRuns?: boolean;
  /**
   * Statements; those in `over` run for each vector of the row, from element `i` on, with `count` elements left. `byEach` has
   * every lane go over the whole row, for what is rare, and needs no other lanes.
   */
  each(over: (statements: string) => string, byEach: (statements: string) => string): string;
}

export function rowKernel({ name, team, operands, numbers, needs = [], head = '', inRuns, each }: RowWork): Kernel {
  const { lanes, subgroups } = team;
  const isLone = lanes === 1;
  const loop = (first: string, lanes: number) => (statements: string) =>
    `
  ${
    inRuns
      ? `for (var vector = ${first}; vector < numbers.runs * ((numbers.columns + 3) / 4); vector += ${lanes}) {
    let run = vector / ((numbers.columns + 3) / 4);
    let c = vector % ((numbers.columns + 3) / 4) * 4;
    let i = ((row / numbers.groups * numbers.runs + run) * numbers.groups + row % numbers.groups) * numbers.columns + c;`
      : `for (var c = ${first} * 4; c < numbers.columns; c += ${4 * lanes}) {
    let i = row * numbers.columns + c;`
  }
    let count = numbers.columns - c;
    ${statements}
  }`;
  return {
    name,
    invocations: isLone ? LONE_LANES : lanes,
    operands,
    numbers: { rows: 'u32', columns: 'u32', ...(inRuns && { runs: 'u32', groups: 'u32' }), ...numbers },
    subgroups,
    body: `
${functions('is_nan', ...needs)}
${isLone ? '' : reductions({ invocations: lanes, subgroups })}
var<private> member: u32;
fn sum_of(value: vec2f) -> vec2f { return ${isLone ? 'value' : 'sum_of_lanes(value, member)'}; }
fn largest_of(value: u32) -> u32 { return ${isLone ? 'value' : 'largest_of_lanes(value, member)'}; }
fn kept(values: vec4f, count: u32, rest: f32) -> vec4f {
  return select(vec4f(rest), values, vec4u(0, 1, 2, 3) < vec4u(count));
}
fn total(values: vec4f) -> f32 { return (values.x + values.y) + (values.z + values.w); }
${RANKS}
${head}
fn run(task: u32, lane: u32) {
  ${isLone ? `let row = task * ${LONE_LANES} + lane;` : 'let row = task;\n  member = lane;'}
  if (row >= numbers.rows) { return; }
  ${each(loop('member', lanes), loop('0u', 1)).trim()}
}`,
  };
}

/** `each_f`, a function applied to each element of a vector. */
export const eachOf = (name: FunctionName): string => `
fn each_${name}(x: vec4f) -> vec4f { return vec4f(${name}(x.x), ${name}(x.y), ${name}(x.z), ${name}(x.w)); }`;

/** A dispatch of the kernel for the team that suits rows of so many columns. */
export function overRows(
  kernelFor: (team: Team) => Kernel,
  columns: number,
  operands: Readonly<Record<string, Region>>,
  numbers: Readonly<Record<string, number>>,
  { device }: Workspace,
): Dispatch {
  const size = Math.max(...Object.values(operands).map(({ shape }) => sizeOf(shape)));
  const rows = size / columns;
  const { isSoftware, subgroups } = device;
  const isLone = columns <= LONE_COLUMNS || (isSoftware && rows >= MANY_ROWS);
  const lanes = isSoftware ? 8 : columns < LONG_COLUMNS ? 64 : 256;
  const kernel = kernelFor(isLone ? { lanes: 1, subgroups: false } : { lanes, subgroups });
  return {
    kernel,
    operands,
    numbers: { rows, columns, ...numbers },
    tasks: isLone ? Math.ceil(rows / LONE_LANES) : rows,
    operations: 20 * size,
  };
}
