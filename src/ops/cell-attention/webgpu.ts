/**
 * Attention to chosen cells: a workgroup finds the bound of a pool bit by bit; an invocation takes a query and head, or backward a key
 * and a head, which asks each query whether it sees that. Fractions are compared as integers, which are exact.
 */
import { flat, type Kernel, type Region, u32s, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan } from '../../runtime/webgpu/plan';
import type { CellBackwardCall, CellCall, Pools } from './call';

const LANES = 64;
const READ = { access: 'read' } as const;
const WRITE = { access: 'write' } as const;
const EXTENTS = u32s('n', 'm', 'h', 'g', 'd', 'e', 'width', 'causal');

const chooseKernel: Kernel = {
  name: 'choice of cells',
  invocations: LANES,
  operands: { estimate: READ, bounds: WRITE, ties: WRITE },
  numbers: { ...EXTENTS, ...u32s('pools', 'rows', 'rowStep', 'poolStep', 'budget') },
  body: `
var<workgroup> counted: atomic<u32>;
fn key_of(x: f32) -> u32 {
  let bits = select(bitcast<u32>(x), 0u, x == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
fn place_of(first: u32, at: u32) -> u32 {
  return (first + at / numbers.width * numbers.rowStep) * numbers.width + at % numbers.width;
}
/// How many cells of a pool have a key of at least this.
fn count_from(first: u32, key: u32, lane: u32) -> u32 {
  workgroupBarrier();
  if (lane == 0) { atomicStore(&counted, 0u); }
  workgroupBarrier();
  var own = 0u;
  for (var at = lane; at < numbers.rows * numbers.width; at += ${LANES}) {
    own += select(0u, 1u, key_of(load_estimate(place_of(first, at))) >= key);
  }
  atomicAdd(&counted, own);
  workgroupBarrier();
  return atomicLoad(&counted);
}
fn run(task: u32, lane: u32) {
  let first = task / numbers.pools * numbers.h * numbers.n + task % numbers.pools * numbers.poolStep;
  let visible = select(1u, first % numbers.n + 1 + numbers.m - numbers.n, numbers.causal == 1);
  let budget = clamp((2 * numbers.budget + visible) / (2 * visible), 1u, numbers.rows * numbers.width);
  var found = 0u;
  for (var bit = 0u; bit < 32; bit++) {
    let key = found | (0x80000000u >> bit);
    if (count_from(first, key, lane) >= budget) { found = key; }
  }
  let more = select(count_from(first, found + 1, lane), 0u, found == 0xffffffffu);
  if (lane > 0) { return; }
  var left = budget - more;
  let bound = bitcast<f32>(select(~found, found & 0x7fffffffu, (found & 0x80000000u) != 0u));
  for (var r = 0u; r < numbers.rows; r++) {
    let row = first + r * numbers.rowStep;
    var equal = 0u;
    for (var cell = 0u; cell < numbers.width && left > 0; cell++) {
      equal += select(0u, 1u, key_of(load_estimate(row * numbers.width + cell)) == found);
    }
    let taken = min(equal, left);
    left -= taken;
    store_bounds(row, bound);
    store_ties(row, i32(taken));
  }
}`,
};

const CELLS = { estimate: READ, bounds: READ, ties: READ } as const;

/** Cells of keys, and what goes through those that a row keeps. */
const cellsCode = `
fn visible_of(i: u32) -> u32 { return select(numbers.m, i + 1 + numbers.m - numbers.n, numbers.causal == 1); }
fn cell_of(j: u32, visible: u32) -> u32 {
  let place = (2 * j + 1) * numbers.width;
  let cell = place / (2 * visible);
  return select(cell, cell - 1, cell > 0 && place % (2 * visible) <= (2 * visible - 1) / 10000);
}
fn start_of(cell: u32, visible: u32) -> u32 {
  var j = cell * visible / numbers.width;
  while (j > 0 && cell_of(j - 1, visible) >= cell) { j--; }
  while (j < visible && cell_of(j, visible) < cell) { j++; }
  return j;
}
fn dot_of_key(query: u32, key: u32) -> f32 {
  var sum = 0.0;
  for (var c = 0u; c < numbers.d; c++) { sum = fma(load_q(query * numbers.d + c), load_k(key * numbers.d + c), sum); }
  return sum * numbers.scale;
}
fn key_row(batch: u32, head: u32, j: u32) -> u32 { return (batch * numbers.m + j) * numbers.g + head * numbers.g / numbers.h; }`;

/** `each` for the keys j of a row, whose number among those of the estimate is `row`. */
const eachKey = (each: string) => `
  {
    let visible = visible_of(i);
    let bound = load_bounds(row);
    var left = load_ties(row);
    for (var cell = 0u; cell < numbers.width; cell++) {
      let value = load_estimate(row * numbers.width + cell);
      if (value < bound) { continue; }
      if (value == bound) {
        if (left == 0) { continue; }
        left--;
      }
      let past = start_of(cell + 1, visible);
      for (var j = start_of(cell, visible); j < past; j++) { ${each} }
    }
  }`;

const rowOf = `
  let at = task * ${LANES} + lane;
  if (at >= numbers.count) { return; }
  let head = at % numbers.h;
  let i = at / numbers.h % numbers.n;
  let batch = at / numbers.h / numbers.n;
  let row = (batch * numbers.h + head) * numbers.n + i;`;

const NUMBERS = { ...EXTENTS, count: 'u32', scale: 'f32' } as const;

const attendKernel = variants(
  ({ e }: { readonly e: number }): Kernel => ({
    name: 'attention to cells',
    invocations: LANES,
    operands: { q: READ, k: READ, v: READ, ...CELLS, out: WRITE, lse: WRITE },
    numbers: NUMBERS,
    body: `${functions('precise_exp', 'precise_log')}${cellsCode}
fn run(task: u32, lane: u32) {${rowOf}
  var sums: array<f32, ${e}>;
  var maximum = -numbers.infinity;
  var total = 0.0;
  ${eachKey(`
        let key = key_row(batch, head, j);
        let score = dot_of_key(at, key);
        if (score > maximum) {
          let factor = precise_exp(maximum - score);
          total *= factor;
          for (var c = 0u; c < ${e}; c++) { sums[c] *= factor; }
          maximum = score;
        }
        let weight = precise_exp(score - maximum);
        total += weight;
        for (var c = 0u; c < ${e}; c++) { sums[c] = fma(weight, load_v(key * ${e} + c), sums[c]); }`)}
  for (var c = 0u; c < ${e}; c++) { store_out(at * ${e} + c, select(0.0, sums[c] / total, total > 0.0)); }
  store_lse(at, select(-numbers.infinity, maximum + precise_log(total), total > 0.0));
}`,
  }),
);

const GRADIENTS = { gradOut: READ, out: READ, lse: READ } as const;
const slopeCode = `
fn weight_of(at: u32, key: u32) -> f32 { return precise_exp(dot_of_key(at, key) - load_lse(at)); }
/// The gradient of the score, over its weight and the scale.
fn slope_of(at: u32, key: u32) -> f32 {
  var sum = 0.0;
  for (var c = 0u; c < numbers.e; c++) {
    sum = fma(load_gradOut(at * numbers.e + c), load_v(key * numbers.e + c) - load_out(at * numbers.e + c), sum);
  }
  return sum;
}`;

const queriesKernel = variants(
  ({ d }: { readonly d: number }): Kernel => ({
    name: 'gradient of attention to cells with respect to queries',
    invocations: LANES,
    operands: { q: READ, k: READ, v: READ, ...CELLS, ...GRADIENTS, gradQ: WRITE },
    numbers: NUMBERS,
    body: `${functions('precise_exp')}${cellsCode}${slopeCode}
fn run(task: u32, lane: u32) {${rowOf}
  var sums: array<f32, ${d}>;
  ${eachKey(`
        let key = key_row(batch, head, j);
        let slope = numbers.scale * weight_of(at, key) * slope_of(at, key);
        for (var c = 0u; c < ${d}; c++) { sums[c] = fma(slope, load_k(key * ${d} + c), sums[c]); }`)}
  for (var c = 0u; c < ${d}; c++) { store_gradQ(at * ${d} + c, sums[c]); }
}`,
  }),
);

const keysKernel = variants(
  ({ d, e }: { readonly d: number; readonly e: number }): Kernel => ({
    name: 'gradient of attention to cells with respect to keys and values',
    invocations: LANES,
    operands: { q: READ, k: READ, v: READ, ...CELLS, ...GRADIENTS, gradK: WRITE, gradV: WRITE },
    numbers: NUMBERS,
    body: `${functions('precise_exp')}${cellsCode}${slopeCode}
fn sees(row: u32, cell: u32) -> bool {
  let value = load_estimate(row * numbers.width + cell);
  let bound = load_bounds(row);
  if (value != bound) { return value > bound; }
  var before = 0;
  for (var other = 0u; other < cell; other++) {
    before += select(0, 1, load_estimate(row * numbers.width + other) == bound);
  }
  return before < load_ties(row);
}
fn run(task: u32, lane: u32) {
  let key = task * ${LANES} + lane;
  if (key >= numbers.count) { return; }
  let shared_by = numbers.h / numbers.g;
  let j = key / numbers.g % numbers.m;
  let batch = key / numbers.g / numbers.m;
  let before = numbers.m - numbers.n;
  var ofKey: array<f32, ${d}>;
  var ofValue: array<f32, ${e}>;
  for (var i = select(0u, max(j, before) - before, numbers.causal == 1); i < numbers.n; i++) {
    let cell = cell_of(j, visible_of(i));
    for (var r = 0u; r < shared_by; r++) {
      let head = key % numbers.g * shared_by + r;
      if (!sees((batch * numbers.h + head) * numbers.n + i, cell)) { continue; }
      let at = (batch * numbers.n + i) * numbers.h + head;
      let weight = weight_of(at, key);
      let slope = numbers.scale * weight * slope_of(at, key);
      for (var c = 0u; c < ${d}; c++) { ofKey[c] = fma(slope, load_q(at * ${d} + c), ofKey[c]); }
      for (var c = 0u; c < ${e}; c++) { ofValue[c] = fma(weight, load_gradOut(at * ${e} + c), ofValue[c]); }
    }
  }
  for (var c = 0u; c < ${d}; c++) { store_gradK(key * ${d} + c, ofKey[c]); }
  for (var c = 0u; c < ${e}; c++) { store_gradV(key * ${e} + c, ofValue[c]); }
}`,
  }),
);

function numbersOf({ q, v, estimate, causal, scale }: Omit<CellCall, keyof Pools | 'out' | 'lse'>) {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [m, g, e] = v.shape.slice(1) as [number, number, number];
  return { b, numbers: { n, m, h, g, d, e, width: estimate.shape[3] as number, causal: Number(causal), scale } };
}

const regions = <Name extends string>(call: Readonly<Record<Name, Region>>, ...names: Name[]) =>
  Object.fromEntries(names.map((name) => [name, flat(call[name])]));

export function planCells(call: CellCall): Plan {
  const { b, numbers } = numbersOf(call);
  const { scale, ...extents } = numbers;
  const { pools, rows, rowStep, poolStep, budget, causal } = call;
  const { n, h, d, e, width } = numbers;
  const own = { pools, rows, rowStep, poolStep, budget: causal ? budget : Math.floor(budget + 0.5) };
  return {
    dispatches: [
      {
        kernel: chooseKernel,
        operands: regions(call, 'estimate', 'bounds', 'ties'),
        numbers: { ...extents, ...own },
        tasks: b * pools,
        operations: 200 * b * h * n * width,
      },
      {
        kernel: attendKernel({ e }),
        operands: regions(call, 'q', 'k', 'v', 'estimate', 'bounds', 'ties', 'out', 'lse'),
        numbers: { ...numbers, count: b * n * h },
        tasks: Math.ceil((b * n * h) / LANES),
        operations: 2 * b * n * h * n * (d + e),
      },
    ],
  };
}

export function planCellsBackward(call: CellBackwardCall): Plan {
  const { b, numbers } = numbersOf(call);
  const { n, m, h, g, d, e } = numbers;
  const operands = regions(call, 'q', 'k', 'v', 'estimate', 'bounds', 'ties', 'gradOut', 'out', 'lse');
  return {
    dispatches: [
      {
        kernel: queriesKernel({ d }),
        operands: { ...operands, gradQ: flat(call.gradQ) },
        numbers: { ...numbers, count: b * n * h },
        tasks: Math.ceil((b * n * h) / LANES),
        operations: 4 * b * n * h * n * (d + e),
      },
      {
        kernel: keysKernel({ d, e }),
        operands: { ...operands, gradK: flat(call.gradK), gradV: flat(call.gradV) },
        numbers: { ...numbers, count: b * m * g },
        tasks: Math.ceil((b * m * g) / LANES),
        operations: 4 * b * n * h * n * (d + e),
      },
    ],
  };
}
