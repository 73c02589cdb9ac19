/** Sums results that are in several parts in memory, from the first part to the last. */
import { sizeOf } from '../../../tensor/shape';
import { type Dispatch, flat, type Kernel, type Region } from '../kernel';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from './vectors';

const partsKernel: Kernel = {
  name: 'sum of parts',
  invocations: VECTOR_INVOCATIONS,
  operands: { parts: { access: 'read', vector: true }, out: { access: 'write', vector: true } },
  numbers: { size: 'u32', count: 'u32' },
  body: `
fn sum_of_parts(i: u32) -> vec4f {
  var sum = load4_parts(i);
  for (var part = 1u; part < numbers.count; part++) { sum += load4_parts(part * numbers.size + i); }
  return sum;
}
${overVectors('store4_out(i, sum_of_parts(i), numbers.size - i);')}`,
};

/** parts [count, ...] -> out [...], contiguous. */
export function sumOfParts(parts: Region, out: Region): Dispatch {
  const size = sizeOf(out.shape);
  const count = parts.shape[0] as number;
  return {
    kernel: partsKernel,
    operands: { parts: { ...parts, shape: [count, size], strides: [size, 1] }, out: flat(out) },
    numbers: { size, count },
    tasks: vectorTasks(size),
    operations: count * size,
  };
}
