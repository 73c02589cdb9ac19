import type { Tensor } from '../../tensor/tensor';

export const DISTRIBUTIONS = ['normal', 'uniform'] as const;

/**
 * Random numbers to out, f32, contiguous: element i is made of word i % 4 of block i / 4 of Philox 4x32-10, whose key is
 * the seed. A uniform one is the word's upper 24 bits over 2^24; of normal ones two neighbours are a pair by Box and Muller.
 */
export interface RandomCall {
  readonly out: Tensor;
  /** The lower and the upper 32 bits. */
  readonly seed: readonly [number, number];
  readonly distribution: (typeof DISTRIBUTIONS)[number];
}
