/** Rows picked from a table. */
import { flat, type Kernel } from '../../runtime/webgpu/kernel';
import { READ, WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from '../../runtime/webgpu/kernels/vectors';
import type { Plan } from '../../runtime/webgpu/plan';
import type { GatherCall } from './reference';

const gatherKernel: Kernel = {
  name: 'gather',
  invocations: VECTOR_INVOCATIONS,
  operands: { table: READ, indices: { access: 'read' }, out: WRITE },
  numbers: { size: 'u32', columns: 'u32', rows: 'u32' },
  body: `
// Rows outside the table are a fault that the host tells.
fn place_of(i: u32) -> u32 {
  let row = u32(clamp(load_indices(i / numbers.columns), 0, i32(numbers.rows) - 1));
  return row * numbers.columns + i % numbers.columns;
}
fn four_of(i: u32) -> vec4f {
  if (numbers.columns % 4 == 0) { return load4_table(place_of(i)); }
  return vec4f(
    load_table(place_of(i)), load_table(place_of(i + 1)), load_table(place_of(i + 2)), load_table(place_of(i + 3)));
}
${overVectors('store4_out(i, four_of(i), numbers.size - i);')}`,
};

export function planGather({ table, indices, out }: GatherCall): Plan {
  return {
    dispatches: [
      {
        kernel: gatherKernel,
        operands: { table: flat(table), indices: flat(indices), out: flat(out) },
        numbers: { size: out.size, columns: table.shape[1] as number, rows: table.shape[0] as number },
        tasks: vectorTasks(out.size),
        operations: 4 * out.size,
      },
    ],
  };
}
