/**
 * The first elements of rows in order: chunks are sorted in workgroup memory, then runs merged in pairs through memory.
 * An order is the places of elements; each finds where it goes from how many of the other run come before it. Of a run
 * only the first k matter.
 */
import { type Dispatch, flat, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { TopKCall } from './reference';

/** Elements that a workgroup sorts: 12 bytes of its memory each. */
const CHUNK = 1024;
const LANES = 64;

/** Keys are integers in the order of the elements; what a kernel has as `key_at(p)` is that of the element now at p. */
const MERGING = `
${functions('is_nan')}
fn key_of(x: f32) -> i32 {
  if (is_nan(x)) { return 0x7fffffff; }
  let bits = bitcast<i32>(x);
  let magnitude = bits & 0x7fffffff;
  return select(-magnitude, magnitude, (bits < 0) == (numbers.descending == 1));
}
/// Where the element at p goes when runs of \`width\`, of which the first \`kept\` are there, are merged in pairs.
fn merged(p: u32, width: u32, kept: u32, count: u32) -> u32 {
  let start = p / width / 2 * width * 2;
  let is_second = p - start >= width;
  let key = key_at(p);
  let other = min(start + select(width, 0u, is_second), count);
  var low = other;
  var high = min(other + min(width, kept), count);
  while (low < high) {
    let middle = (low + high) / 2;
    let found = key_at(middle);
    // Among equal ones, those of the first run come first.
    if (found < key || (found == key && is_second)) { low = middle + 1; } else { high = middle; }
  }
  return start + p % width + low - other;
}`;

const chunksKernel = variants(
  ({ lanes }: { lanes: number }): Kernel => ({
    name: 'order of chunks',
    invocations: lanes,
    operands: { x: { access: 'read' }, result: { access: 'write' } },
    numbers: { columns: 'u32', chunks: 'u32', k: 'u32', pitch: 'u32', descending: 'u32' },
    body: `
var<workgroup> keys: array<i32, ${CHUNK}>;
/// The order at hand, from \`base\` on, and the next.
var<workgroup> order: array<u32, ${2 * CHUNK}>;
var<private> base: u32;
fn key_at(p: u32) -> i32 { return keys[order[base + p]]; }
${MERGING}
fn run(task: u32, lane: u32) {
  let row = task / numbers.chunks;
  let first = (task % numbers.chunks) * ${CHUNK};
  let count = min(${CHUNK}, numbers.columns - first);
  base = 0;
  for (var p = lane; p < count; p += ${lanes}) {
    keys[p] = key_of(load_x(row * numbers.columns + first + p));
    order[p] = p;
  }
  for (var width = 1u; width < count; width *= 2) {
    workgroupBarrier();
    for (var p = lane; p < count; p += ${lanes}) {
      order[${CHUNK} - base + merged(p, width, width, count)] = order[base + p];
    }
    base = ${CHUNK} - base;
  }
  workgroupBarrier();
  for (var p = lane; p < min(count, numbers.k); p += ${lanes}) {
    store_result(row * numbers.pitch + first + p, i32(first + order[base + p]));
  }
}`,
  }),
);

/** Merges runs of `width` into runs of twice as many. */
const mergeKernel: Kernel = {
  name: 'merge of orders',
  invocations: LANES,
  operands: { x: { access: 'read' }, before: { access: 'read' }, result: { access: 'write' } },
  numbers: { size: 'u32', columns: 'u32', width: 'u32', k: 'u32', pitch: 'u32', descending: 'u32' },
  body: `
var<private> row: u32;
fn key_at(p: u32) -> i32 { return key_of(load_x(row * numbers.columns + u32(load_before(row * numbers.columns + p)))); }
${MERGING}
fn run(task: u32, lane: u32) {
  let i = task * ${LANES} + lane;
  row = i / numbers.columns;
  let p = i % numbers.columns;
  if (i >= numbers.size || p % numbers.width >= numbers.k) { return; }
  let place = merged(p, numbers.width, numbers.k, numbers.columns);
  if (place % (2 * numbers.width) < numbers.k) { store_result(row * numbers.pitch + place, load_before(i)); }
}`,
};

const valuesKernel: Kernel = {
  name: 'elements by place',
  invocations: LANES,
  operands: { x: { access: 'read' }, indices: { access: 'read' }, values: { access: 'write' } },
  numbers: { size: 'u32', columns: 'u32', k: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let i = task * ${LANES} + lane;
  if (i < numbers.size) { store_values(i, load_x(i / numbers.k * numbers.columns + u32(load_indices(i)))); }
}`,
};

export function planTopK({ x, k, descending, indices, values }: TopKCall, workspace: Workspace): Plan {
  const columns = x.shape.at(-1) as number;
  const { size } = x;
  const chunks = Math.ceil(columns / CHUNK);
  const merges = Math.ceil(Math.log2(chunks));
  const between = Array.from({ length: Math.min(merges, 2) }, () => workspace.scratch([size], 'i32'));
  const result = (stage: number) => (stage === merges ? flat(indices) : (between[stage % 2] as Region));
  const numbers = (stage: number) => ({
    columns,
    k,
    descending: Number(descending),
    pitch: stage === merges ? k : columns,
  });
  const lanes = workspace.device.isSoftware ? 8 : columns <= 4 * LANES ? LANES : 4 * LANES;
  const dispatches: Dispatch[] = [
    {
      kernel: chunksKernel({ lanes }),
      operands: { x: flat(x), result: result(0) },
      numbers: { ...numbers(0), chunks },
      tasks: (size / columns) * chunks,
      operations: 200 * size,
    },
  ];
  for (let stage = 1; stage <= merges; stage++) {
    dispatches.push({
      kernel: mergeKernel,
      operands: { x: flat(x), before: result(stage - 1), result: result(stage) },
      numbers: { ...numbers(stage), size, width: CHUNK * 2 ** (stage - 1) },
      tasks: Math.ceil(size / LANES),
      operations: 200 * size,
    });
  }
  if (values) {
    dispatches.push({
      kernel: valuesKernel,
      operands: { x: flat(x), indices: flat(indices), values: flat(values) },
      numbers: { size: indices.size, columns, k },
      tasks: Math.ceil(indices.size / LANES),
      operations: 4 * indices.size,
    });
  }
  return { dispatches };
}
