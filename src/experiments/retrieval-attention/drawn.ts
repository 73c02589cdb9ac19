/** Keys and queries of a head that are not distributed alike, as in trained models with long contexts. */
import { normal, uniformGenerator } from '../../tensor/random';

export const D = 64;
export const CLUSTERS = 60;
export const NOISE = 0.6;
/** The length of what queries lie apart from keys. */
const SHIFT = 6;

/** n keys in clusters. */
export function drawnKeys(n: number): Float32Array {
  const centres = normal(CLUSTERS * D, 1);
  const pick = uniformGenerator(3);
  const clusters = Array.from({ length: n }, () => Math.floor(CLUSTERS * pick()));
  return normal(n * D, 2).map(
    (value, at) => (centres[(clusters[Math.floor(at / D)] as number) * D + (at % D)] as number) + NOISE * value,
  );
}

/** n queries that are stretched along half of the coordinates, and lie apart from the keys. */
export function drawnQueries(n: number, seed: number): Float32Array {
  const scales = Array.from(normal(D, 4), (value) => (value < 0 ? 0.3 : 3));
  const direction = normal(D, 5);
  const length = Math.hypot(...direction);
  return normal(n * D, seed).map(
    (value, at) => value * (scales[at % D] as number) - (SHIFT * (direction[at % D] as number)) / length,
  );
}
