import { evaluateAll } from '../../expressions/evaluate';
import type { Host } from '../../runtime/op';
import type { PickCall, ProductsCall } from './call';
import { BLOCK } from './params';
import type { PackedWeight } from './weight';

/** In float64; x is rounded as kernels round it, in float32. */
export function products(call: ProductsCall, host: Host): void {
  const { x, rows, depth, isAcross, products, epilogue } = call;
  const left = call.isRounded ? roundedBlocks(host.numbers(x)) : host.numbers(x);
  for (const { weight, columns, bias, out } of products) {
    const right = numbersOf(weight, host);
    const [ofColumn, ofTerm] = isAcross ? [1, columns] : [depth, 1];
    const added = bias && host.numbers(bias);
    const result = new Float64Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        let sum = added ? (added[c] as number) : 0;
        for (let k = 0; k < depth; k++)
          sum += (left[r * depth + k] as number) * (right[c * ofColumn + k * ofTerm] as number);
        result[r * columns + c] = sum;
      }
    }
    const valuesOf = (name: string) =>
      name[0] === 'x' ? result : new Float64Array(out.size).fill(epilogue?.numbers[Number(name.slice(1))] as number);
    host.store(out, epilogue ? (evaluateAll(epilogue.fn.results, out.size, valuesOf)[0] as Float64Array) : result);
  }
}

/** Indices outside the table give its nearest row: the fault is told by the op. */
export function pick({ table, indices, out }: PickCall, host: Host): void {
  const [count, width] = table.shape as [number, number];
  const rows = numbersOf(table, host);
  const result = new Float64Array(out.size);
  host.numbers(indices).forEach((index, r) => {
    const row = Math.max(0, Math.min(count - 1, index));
    result.set(rows.subarray(row * width, (row + 1) * width), r * width);
  });
  host.store(out, result);
}

function numbersOf({ dtype, size, parts: { values, scales, minima } }: PackedWeight, { numbers }: Host): Float64Array {
  const stored = numbers(values);
  if (!scales) return stored;
  const [ofBlocks, below] = [numbers(scales), minima && numbers(minima)];
  const integerAt = (i: number) => {
    if (dtype === 'q8') return stored[i] as number;
    const inBlock = i % BLOCK;
    const byte = stored[(i - inBlock + 2 * (inBlock % 16)) / 2] as number;
    return (inBlock < 16 ? byte & 15 : byte >> 4) - (below ? 0 : 8);
  };
  return Float64Array.from({ length: size }, (_, i) => {
    const block = Math.floor(i / BLOCK);
    return integerAt(i) * (ofBlocks[block] as number) + (below ? (below[block] as number) : 0);
  });
}

/** Blocks of integers from -127 to 127 times the largest magnitude over 127. */
function roundedBlocks(x: Float64Array): Float64Array {
  const result = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += BLOCK) {
    const block = Float32Array.from(x.subarray(first, first + BLOCK));
    const largest = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const isNothing = largest < 1e-30;
    const [scale, inverse] = isNothing ? [0, 0] : [Math.fround(largest / 127), Math.fround(127 / largest)];
    block.forEach((value, i) => {
      result[first + i] = scale * toEven(Math.fround(value * inverse));
    });
  }
  return result;
}

function toEven(x: number): number {
  const nearest = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}
