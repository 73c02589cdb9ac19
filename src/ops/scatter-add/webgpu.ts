/** Sums of rows with the same index. */
import { flat, type Kernel } from '../../runtime/webgpu/kernel';
import { sumOfParts } from '../../runtime/webgpu/kernels/parts';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import type { ScatterAddCall } from './reference';

const LANES = 64;
/** Indices that are looked at together. */
const CHUNK = 256;
const WORDS = CHUNK / 32;
/** Vectors of the result that a task has at most, so that hardly any task looks at all indices for nothing. */
const QUADS = 1024;
/** Tasks that keep a device busy. */
const BUSY = 1024;

/** A task has some rows of the result, of a part of the values, and adds in the order of the indices. */
const scatterAddKernel: Kernel = {
  name: 'scatterAdd',
  invocations: LANES,
  operands: {
    values: { access: 'read', vector: true },
    indices: { access: 'read' },
    out: { access: 'update', vector: true },
  },
  numbers: { count: 'u32', rows: 'u32', columns: 'u32', range: 'u32', ranges: 'u32', part: 'u32' },
  body: `
var<workgroup> row_of: array<u32, ${CHUNK}>;
/// A bit for each index of the chunk whether its row is the task's.
var<workgroup> found: array<atomic<u32>, ${WORDS}>;
fn run(task: u32, lane: u32) {
  let part = task / numbers.ranges;
  let first = (task % numbers.ranges) * numbers.range;
  let range = min(numbers.range, numbers.rows - first);
  let base = (part * numbers.rows + first) * numbers.columns;
  let quads = (numbers.columns + 3) / 4;
  for (var p = lane; p < range * quads; p += ${LANES}) {
    let c = (p % quads) * 4;
    store4_out(base + (p / quads) * numbers.columns + c, vec4f(0.0), numbers.columns - c);
  }
  storageBarrier();
  let end = min(numbers.count, (part + 1) * numbers.part);
  for (var start = part * numbers.part; start < end; start += ${CHUNK}) {
    if (lane < ${WORDS}) { atomicStore(&found[lane], 0u); }
    workgroupBarrier();
    for (var at = lane; at < min(${CHUNK}, end - start); at += ${LANES}) {
      // Those outside are a fault that the host tells; rows before the first wrap around.
      let row = u32(clamp(load_indices(start + at), 0, i32(numbers.rows) - 1)) - first;
      if (row < range) {
        row_of[at] = row;
        atomicOr(&found[at / 32], 1u << (at % 32));
      }
    }
    workgroupBarrier();
    for (var word = 0u; word < ${WORDS}; word++) {
      for (var rest = atomicLoad(&found[word]); rest != 0; rest &= rest - 1) {
        let at = word * 32 + countTrailingZeros(rest);
        for (var c = lane * 4; c < numbers.columns; c += ${4 * LANES}) {
          let to = base + row_of[at] * numbers.columns + c;
          let sum = load4_out(to) + load4_values((start + at) * numbers.columns + c);
          store4_out(to, sum, numbers.columns - c);
        }
      }
    }
    workgroupBarrier();
  }
}`,
};

export function planScatterAdd({ values, indices, out }: ScatterAddCall, workspace: Workspace): Plan {
  const [rows, columns] = out.shape as [number, number];
  const { storage, dtype, offset } = values;
  const count = indices.size;
  const range = Math.max(1, Math.min(Math.floor(QUADS / Math.ceil(columns / 4)), Math.ceil(rows / BUSY)));
  const ranges = Math.ceil(rows / range);
  // Many values of few rows go in parts, which are whole chunks.
  const wanted = Math.max(1, Math.floor(BUSY / ranges));
  const part = CHUNK * Math.ceil(count / CHUNK / Math.min(wanted, Math.ceil(count / CHUNK)));
  const parts = Math.ceil(count / part);
  const partial = parts > 1 ? workspace.scratch([parts, rows, columns]) : undefined;
  const sums = {
    kernel: scatterAddKernel,
    operands: {
      values: { storage, dtype, offset, shape: [count, columns], strides: [columns, 1] },
      indices: flat(indices),
      out: partial ?? out,
    },
    numbers: { count, rows, columns, range, ranges, part },
    tasks: ranges * parts,
    operations: ranges * count + 8 * (parts * out.size + values.size),
  };
  return { dispatches: partial ? [sums, sumOfParts(partial, out)] : [sums] };
}
