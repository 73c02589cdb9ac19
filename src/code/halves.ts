import type { Address, Kernel, Vector } from './kernel';

/** Elements of 16 bits in memory, as numbers and back, to nearest even. */
export const HALVES = {
  f16: {
    load: (k: Kernel, from: Address): Vector => k.loadFloat16(from),
    store: (_: Kernel, x: Vector, to: Address): void => x.storeFloat16(to),
  },
  bf16: {
    load: (k: Kernel, from: Address): Vector => k.loadHalves(from).shiftLeft(k.bits(16)),
    store(k: Kernel, x: Vector, to: Address): void {
      const sixteen = k.bits(16);
      const upper = x.shiftRightUnsigned(sixteen);
      const rounded = x.plusWords(upper.and(k.bits(1)).plusWords(k.bits(0x7fff))).shiftRightUnsigned(sixteen);
      // NaN stays one.
      k.pick(k.mask(x, '==', x), rounded, upper.or(k.bits(0x40))).storeHalves(to);
    },
  },
};
