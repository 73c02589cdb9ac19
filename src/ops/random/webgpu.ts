/** Random numbers, a block of Philox each lane at a time. */
import { flat, type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { WRITE } from '../../runtime/webgpu/kernels/row-kernel';
import { overVectors, VECTOR_INVOCATIONS, vectorTasks } from '../../runtime/webgpu/kernels/vectors';
import type { Plan } from '../../runtime/webgpu/plan';
import type { RandomCall } from './call';

const NORMAL = `
${functions('wide_product', 'precise_log', 'precise_sin', 'precise_cos')}
/// All 32 bits of small words count, as the logarithm sees them.
fn pair(words: vec2u) -> vec2f {
  let share = select(uniform_of(words.x), f32(max(words.x, 1)) * 0x1p-32, words.x < 0x1000000);
  let radius = sqrt(-2.0 * precise_log(share));
  let angle = uniform_of(words.y) * 6.283185307179586;
  return radius * vec2f(precise_cos(angle), precise_sin(angle));
}
fn numbers_of(words: vec4u) -> vec4f { return vec4f(pair(words.xy), pair(words.zw)); }`;

const UNIFORM = `
${functions('wide_product')}
fn numbers_of(words: vec4u) -> vec4f {
  return vec4f(uniform_of(words.x), uniform_of(words.y), uniform_of(words.z), uniform_of(words.w));
}`;

const randomKernel = variants(
  (distribution: RandomCall['distribution']): Kernel => ({
    name: `${distribution} random numbers`,
    invocations: VECTOR_INVOCATIONS,
    operands: { out: WRITE },
    numbers: { size: 'u32', low: 'u32', high: 'u32' },
    body: `
fn uniform_of(word: u32) -> f32 { return f32(word >> 8) * 0x1p-24; }
${distribution === 'normal' ? NORMAL : UNIFORM}
fn words_of(block: u32) -> vec4u {
  var words = vec4u(block, 0, 0, 0);
  var key = vec2u(numbers.low, numbers.high);
  for (var round = 0u; round < 10; round++) {
    let first = wide_product(words.x, 0xd2511f53);
    let second = wide_product(words.z, 0xcd9e8d57);
    words = vec4u(second.x ^ words.y ^ key.x, second.y, first.x ^ words.w ^ key.y, first.y);
    key += vec2u(0x9e3779b9, 0xbb67ae85);
  }
  return words;
}
${overVectors('store4_out(i, numbers_of(words_of(i / 4)), numbers.size - i);')}`,
  }),
);

export function planRandom({ out, seed: [low, high], distribution }: RandomCall): Plan {
  return {
    dispatches: [
      {
        kernel: randomKernel(distribution),
        operands: { out: flat(out) },
        numbers: { size: out.size, low, high },
        tasks: vectorTasks(out.size),
        operations: 40 * out.size,
      },
    ],
  };
}
