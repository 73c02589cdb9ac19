/** What the kernels of local linear attention share: tiles of rows, and what is known of these. */
import { type Kernel, type OperandSpec, u32s } from '../../../runtime/webgpu/kernel';
import { type Reading, rowsCode } from '../../../runtime/webgpu/kernels/block-product';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import { LANES } from '../../../runtime/webgpu/kernels/product';

/** Rows and keys of a tile. */
export const TILE = 32;
/** Keys whose extremes a workgroup finds. */
export const CHUNK = 64;
export const BLOCK = { rows: 1, columns: 1 } as const;

export const READ: OperandSpec = { access: 'read' };
export const READ4: OperandSpec = { access: 'read', vector: true };
export const WRITE: OperandSpec = { access: 'write' };
export const UPDATE: OperandSpec = { access: 'update' };

export const EXTENTS = u32s(
  ...(['n', 'm', 'h', 'd', 'stride', 'rows', 'tiles', 'first_place', 'first_row', 'causal', 'key_heads'] as const),
);

/** Where a tile of the current chunk is, and what its rows see. */
export const PLACES = `
struct Tile { at: u32, batch: u32, head: u32, group: u32, first: u32, past: u32 }
fn seen_by(i: u32) -> u32 {
  if (i >= numbers.n) { return 0; }
  if (numbers.causal == 0) { return numbers.m; }
  return u32(clamp(i32(i) + 1 + i32(numbers.m) - i32(numbers.n), 0, i32(numbers.m)));
}
fn tile_of(at: u32) -> Tile {
  let place = numbers.first_place + at / numbers.tiles;
  let first = numbers.first_row + at % numbers.tiles * ${TILE};
  // Keys that some row sees, in whole tiles.
  let seen = seen_by(min(first + ${TILE - 1}, numbers.n - 1));
  let past = select((seen + ${TILE - 1}) / ${TILE} * ${TILE}, 0, first >= numbers.n);
  let head = place % numbers.h;
  let batch = place / numbers.h;
  return Tile(at, batch, head, batch * numbers.key_heads + head * numbers.key_heads / numbers.h, first, past);
}
fn pair_of(tile: Tile, row: u32, key: u32) -> u32 { return (tile.at * ${TILE} + row) * numbers.stride + key; }
fn vector_of(tile: Tile, columns: u32, c: u32) -> u32 { return (tile.at * columns + c) * ${TILE}; }
fn is_number(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000) != 0x7f800000; }`;

/** What a kernel knows of a row of each system, one after the other in its buffer. */
export const STATE = [
  'norm',
  'first_norm',
  'active',
  'iterations',
  'shrink',
  'scale',
  'lse',
  'is_single',
  'total',
  'constant',
  'sum',
] as const;
const STATES = STATE.map(
  (name, at) => `
fn ${name}_at(row: u32) -> u32 { return ${at} * numbers.rows + row; }`,
).join('');

/** What the lanes of a workgroup make together: the sum of their numbers, or the largest. */
const reduction = (name: string, joined: (a: string, b: string) => string) => `
fn ${name}(x: f32, lane: u32) -> f32 {
  workgroupBarrier();
  parts[lane] = x;
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { parts[lane] = ${joined('parts[lane]', 'parts[lane + half]')}; }
  }
  workgroupBarrier();
  return parts[0];
}`;
const REDUCE = `
var<workgroup> parts: array<f32, ${LANES}>;
${reduction('sum_of', (a, b) => `${a} + ${b}`)}
${reduction('largest_of', (a, b) => `max(${a}, ${b})`)}`;

const RIDGE = `
fn ridge_of(tile: Tile, i: u32) -> f32 {
  if (numbers.has_rows == 0 || i >= numbers.n) { return numbers.ridge; }
  return load_ridges(at_ridges(tile.batch, i, tile.head));
}`;
/** How well a tile's systems were solved: Infinity where rounding the solution leaves no digit of the weights. */
const RESIDUAL = `
fn residual_of(tile: Tile, row: u32, size: f32) -> f32 {
  let first = load_state(first_norm_at(row));
  // Nothing is solved for rows that are NaN, or see no key.
  if (!(is_number(first) && first > 0.0) || seen_by(tile.first + row % ${TILE}) == 0) { return 0.0; }
  var keys = 0.0;
  for (var chunk = 0u; chunk < numbers.chunks; chunk++) {
    let norm = load_largest(tile.group * numbers.chunks + chunk);
    if (is_number(norm)) { keys = max(keys, norm); }
  }
  let residual = sqrt(load_state(norm_at(row)) / first);
  // A single key that counts is the mean, and nothing is rounded.
  let is_single = load_state(is_single_at(row)) > 0.0;
  let is_right = is_number(residual) && (is_single || sqrt(size) * sqrt(keys) * 1.1920929e-7 <= 0.0625);
  return select(numbers.infinity, residual, is_right);
}`;

/** Whether a tile has systems left to solve. */
export const NEXT = `
  if (lane == 0) { atomicStore(&left, 0); }
  workgroupBarrier();
  if (goes_on) { atomicStore(&left, 1); }
  workgroupBarrier();
  if (lane == 0) { store_live(tile.at, f32(atomicLoad(&left))); }`;

/** Code that some kernels share, with its operands and numbers. */
const PARTS = {
  reduce: { operands: {}, numbers: {}, text: REDUCE },
  ridges: {
    operands: { ridges: { access: 'read', rank: 3 } },
    numbers: { ridge: 'f32', has_rows: 'u32' },
    text: RIDGE,
  },
  residual: { operands: { largest: READ }, numbers: { chunks: 'u32' }, text: RESIDUAL },
} as const satisfies Record<string, Required<Pick<Kernel, 'operands' | 'numbers'>> & { readonly text: string }>;

interface TileKernel extends Pick<Kernel, 'operands' | 'numbers'> {
  /** What it computes. */
  readonly name: string;
  /**
   * What a workgroup takes: a tile, a lane for each `row` of it, which is row `i` of the head, or all pairs of one row, its
   * tile's row `own`, the first of which is at `first`.
   */
  readonly of: 'tile' | 'row';
  /** Whether it passes over tiles that have nothing left to solve. */
  readonly skips?: boolean;
  readonly parts?: readonly (keyof typeof PARTS)[];
  /** Operands that it reads by rows. */
  readonly rows?: Readonly<Record<string, Reading>>;
  readonly needs?: Parameters<typeof functions>;
  readonly declares?: string;
  readonly run: string;
}

const PLACE = {
  tile: `
  let tile = tile_of(task);
  let row = task * ${TILE} + lane;
  let i = tile.first + lane;`,
  row: `
  let tile = tile_of(task / ${TILE});
  let own = task % ${TILE};
  let i = tile.first + own;
  let first = pair_of(tile, own, 0);`,
};
const SKIP = `
  if (lane == 0) { is_live = load_live(tile.at); }
  if (workgroupUniformLoad(&is_live) == 0.0) { return; }`;

export function tileKernel(kernel: TileKernel): Kernel {
  const { name, of, skips, operands, numbers, parts = [], rows = {}, needs = [], declares = '', run } = kernel;
  const used = parts.map((part) => PARTS[part]);
  const read = rowsCode(rows);
  return {
    name: `local linear attention: ${name}`,
    invocations: of === 'tile' ? TILE : LANES,
    operands: Object.assign({ ...operands, ...read.operands }, ...used.map((part) => part.operands)),
    numbers: Object.assign({ ...EXTENTS, ...numbers, ...read.numbers }, ...used.map((part) => part.numbers)),
    body: `
${functions(...needs)}
${PLACES}
${STATES}
${used.map(({ text }) => text).join('\n')}
${read.text}
${skips ? 'var<workgroup> is_live: f32;' : ''}
${declares}
fn run(task: u32, lane: u32) {${PLACE[of]}${skips ? SKIP : ''}${run}
}`,
  };
}
