/** Products with packed weights and rows of them, on a GPU: x is rounded where asked for, and multiplied as floats. */
import { flat, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { rowMajorStrides, sizeOf } from '../../tensor/shape';
import { planMatmul } from '../matmul/webgpu';
import type { PickCall, ProductsCall } from './call';
import { BLOCK } from './params';
import { type BlockForm, formOf, regionsOf, weightCode } from './webgpu-blocks';

const INVOCATIONS = 64;

/** A lane rounds a block. */
const roundKernel: Kernel = {
  name: 'round to 8 bits',
  invocations: INVOCATIONS,
  operands: { x: { access: 'read', vector: true }, out: { access: 'write', vector: true } },
  numbers: { blocks: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let block = task * ${INVOCATIONS} + lane;
  if (block >= numbers.blocks) { return; }
  let first = block * ${BLOCK};
  var largest = vec4f(0.0);
  for (var i = 0u; i < ${BLOCK}; i += 4) { largest = max(largest, abs(load4_x(first + i))); }
  let most = max(max(largest.x, largest.y), max(largest.z, largest.w));
  let is_nothing = most < 1e-30;
  let scale = select(most / 127, 0.0, is_nothing);
  let inverse = select(127 / most, 0.0, is_nothing);
  for (var i = 0u; i < ${BLOCK}; i += 4) {
    store4_out(first + i, scale * round(load4_x(first + i) * inverse), 4);
  }
}`,
};

/** A lane takes a number. */
const pickKernel = variants(
  (form: BlockForm): Kernel => ({
    name: 'rows of a packed weight',
    invocations: INVOCATIONS,
    operands: {
      table: { access: 'read' },
      scales: { access: 'read' },
      ...(form.hasMinima && { minima: { access: 'read' } }),
      indices: { access: 'read' },
      out: { access: 'write' },
    },
    numbers: { size: 'u32', width: 'u32', rows: 'u32' },
    body: `
${weightCode('table', form)}
fn run(task: u32, lane: u32) {
  let i = task * ${INVOCATIONS} + lane;
  if (i >= numbers.size) { return; }
  // Rows outside the table are a fault that the host tells.
  let row = u32(clamp(load_indices(i / numbers.width), 0, i32(numbers.rows) - 1));
  store_out(i, weight_at(row, i % numbers.width, numbers.width));
}`,
  }),
);

export function planProducts(call: ProductsCall, workspace: Workspace): Plan {
  const { rows, depth, isRounded, isAcross, products, epilogue } = call;
  const x = isRounded ? workspace.scratch([rows, depth]) : call.x;
  const blocks = (rows * depth) / BLOCK;
  const rounding = {
    kernel: roundKernel,
    operands: { x: flat(call.x), out: flat(x) },
    numbers: { blocks },
    tasks: Math.ceil(blocks / INVOCATIONS),
    operations: 4 * rows * depth,
  };
  const a: Region = { ...regionOf(x), shape: [rows, depth], strides: [depth, 1] };
  const axes = [{ extent: 1, from: 1, to: 1 }];
  const multiplying = products.flatMap(({ weight, columns, bias, out }) => {
    const strides = isAcross ? [columns, 1] : [1, depth];
    const b = { ...regionOf(weight.parts.values), shape: [depth, columns], strides };
    const packed = weight.isQuantised ? { weight, isAcross } : undefined;
    return planMatmul({ a, b, bias, epilogue, out, axes }, workspace, packed).dispatches;
  });
  return { dispatches: [...(isRounded ? [rounding] : []), ...multiplying] };
}

const regionOf = ({ storage, dtype, shape, offset }: Region): Region => ({
  storage,
  dtype,
  shape,
  strides: rowMajorStrides(shape),
  offset,
});

export function planPick({ table, indices, out }: PickCall): Plan {
  const [rows, width] = table.shape as [number, number];
  const size = sizeOf(out.shape);
  return {
    dispatches: [
      {
        kernel: pickKernel(formOf(table)),
        operands: { ...regionsOf('table', table), indices: flat(indices), out: flat(out) },
        numbers: { size, width, rows },
        tasks: Math.ceil(size / INVOCATIONS),
        operations: 8 * size,
      },
    ],
  };
}
