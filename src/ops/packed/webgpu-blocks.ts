/** Weights in blocks as kernels in WGSL read them. */
import type { Region } from '../../runtime/webgpu/kernel';
import { sizeOf } from '../../tensor/shape';
import { BLOCK } from './params';
import type { PackedWeight } from './weight';

/** How a weight lies in memory. */
export interface BlockForm {
  readonly isFour: boolean;
  readonly hasMinima: boolean;
}

export const formOf = ({ dtype, parts }: PackedWeight): BlockForm => ({
  isFour: dtype === 'q4',
  hasMinima: parts.minima !== undefined,
});

/** The operands of a kernel: integers in words by this name, scales and minima. */
export function regionsOf(name: string, { parts: { values, scales, minima } }: PackedWeight): Record<string, Region> {
  const words: Region = { storage: values.storage, dtype: 'i32', offset: 0, shape: [values.size / 4], strides: [1] };
  const flat = (region: Region): Region => ({ ...region, shape: [sizeOf(region.shape)], strides: [1] });
  const regionOf = ({ storage, dtype, shape, strides, offset }: Region) =>
    flat({ storage, dtype, shape, strides, offset });
  return { [name]: words, scales: regionOf(scales as Region), ...(minima && { minima: regionOf(minima) }) };
}

/** `weight_at(row, k, width)` of the words in an operand. */
export const weightCode = (words: string, { isFour, hasMinima }: BlockForm) => `
fn weight_at(row: u32, k: u32, width: u32) -> f32 {
  let block = (row * width + k) / ${BLOCK};
  let at = k % ${BLOCK};
  ${
    isFour
      ? `let word = u32(load_${words}(block * ${BLOCK / 8} + at % 16 / 4));
  let code = f32((word >> (8 * (at % 4) + 4 * (at / 16))) & 15) ${hasMinima ? '' : '- 8.0'};`
      : `let word = load_${words}(block * ${BLOCK / 4} + at / 4);
  let code = f32((word << (24 - 8 * (at % 4))) >> 24);`
  }
  return code * load_scales(block) ${hasMinima ? '+ load_minima(block)' : ''};
}`;
