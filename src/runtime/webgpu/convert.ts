/** Rounds f32 to f16 or bf16, to nearest even, as the host does; WGSL's own conversion need not. */
import { sizeOf } from '../../tensor/shape';
import { type Dispatch, type Kernel, type Region, variants } from './kernel';

const ROUND = {
  f16: `
fn rounded(value: f32) -> u32 {
  let x = bitcast<u32>(value);
  let sign = (x >> 16) & 0x8000;
  let magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) { return sign | 0x7e00; }
  if (magnitude >= 0x47800000) { return sign | 0x7c00; }
  if (magnitude >= 0x38800000) { return sign | shifted(magnitude - 0x38000000, 13); }
  if (magnitude < 0x33000000) { return sign; }
  return sign | shifted((magnitude & 0x7fffff) | 0x800000, 126 - (magnitude >> 23));
}`,
  bf16: `
fn rounded(value: f32) -> u32 {
  let x = bitcast<u32>(value);
  if ((x & 0x7fffffff) > 0x7f800000) { return (x >> 16) | 0x40; }
  return shifted(x, 16);
}`,
};

/** `rounded(f32)`, the bits of the nearest number of a dtype. */
export const rounding = (dtype: 'f16' | 'bf16') => `
fn shifted(x: u32, shift: u32) -> u32 {
  return (x + (1u << (shift - 1)) - 1 + ((x >> shift) & 1)) >> shift;
}
${ROUND[dtype]}`;

const INVOCATIONS = 64;

/** One thread for each word of two elements; other elements in the first and last word stay as they are. */
const kernelFor = variants(
  (dtype: 'f16' | 'bf16'): Kernel => ({
    name: `convert to ${dtype}`,
    invocations: INVOCATIONS,
    operands: { x: { access: 'read' }, words: { access: 'update' } },
    numbers: { begin: 'u32', end: 'u32', count: 'u32' },
    body: `
${rounding(dtype)}
fn run(task: u32, lane: u32) {
  let word = task * ${INVOCATIONS} + lane;
  if (word >= numbers.count) { return; }
  var bits = bitcast<u32>(load_words(word));
  for (var half = 0u; half < 2; half++) {
    let at = 2 * word + half;
    if (at >= numbers.begin && at < numbers.end) {
      let shift = 16 * half;
      bits = (bits & ~(0xffffu << shift)) | (rounded(load_x(at - numbers.begin)) << shift);
    }
  }
  store_words(word, bitcast<i32>(bits));
}`,
  }),
);

/** Writes `wide`, in f32, to `narrow`; both are contiguous. */
export function convert(wide: Region, narrow: Region): Dispatch {
  const size = sizeOf(narrow.shape);
  const begin = narrow.offset % 2;
  const count = Math.ceil((begin + size) / 2);
  const words: Region = {
    storage: narrow.storage,
    dtype: 'i32',
    offset: (narrow.offset - begin) / 2,
    shape: [count],
    strides: [1],
  };
  return {
    kernel: kernelFor(narrow.dtype as 'f16' | 'bf16'),
    operands: { x: wide, words },
    numbers: { begin, end: begin + size, count },
    tasks: Math.ceil(count / INVOCATIONS),
    operations: 16 * size,
  };
}
