/** Seeded random numbers: the same seed gives the same numbers on every platform. */
import { show } from '../check';
import { ParameterError } from '../errors';

/** A generator of uniform numbers in [0, 1) with 32 random bits (sfc32, 128 bits of state). */
export function uniformGenerator(seed: number): () => number {
  checkSeed(seed);
  let a = seed >>> 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 0x9e3779b9;
  let counter = 1;
  const next = () => {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  // Neighbouring seeds start alike; fifteen rounds separate them.
  for (let round = 0; round < 15; round++) next();
  return next;
}

/** Throws a ParameterError unless the seed is an integer. */
export function checkSeed(seed: number): void {
  if (!Number.isSafeInteger(seed)) throw new ParameterError(`seed must be an integer, got ${show(seed)}`);
}

/** A seed for each place that a seed is used in, such as a layer's index; 0 leaves it as it is. */
export function seedAt(seed: number, ...places: readonly number[]): number {
  return places.reduce(
    (own, place) => (place === 0 ? own : Math.floor(uniformGenerator(own)() * 2 ** 21) * 2 ** 32 + (place >>> 0)),
    seed,
  );
}

/** `length` standard normal numbers (Box-Muller). */
export function normal(length: number, seed: number): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, seed);
  return values;
}

/** The same, into `values`. */
export function fillNormal(values: Float32Array, seed: number): void {
  const uniform = uniformGenerator(seed);
  for (let i = 0; i < values.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
}

/** `length` numbers uniform in [low, high). */
export function uniform(length: number, seed: number, low = 0, high = 1): Float32Array {
  const next = uniformGenerator(seed);
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    values[i] = low + (high - low) * next();
    // Rounding to float32 may reach the bound.
    if ((values[i] as number) >= high) values[i] = low;
  }
  return values;
}
