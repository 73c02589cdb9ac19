/** Synthetic classes: a Gaussian of latents each, seen through a random network. */
import type { Rows, Task } from '../../pipelines/continual';
import { normal } from '../../tensor/random';

export const WIDTH = 64;
const [LATENT, HIDDEN, CLASSES, UNSEEN] = [6, 32, 4, 100];
const [SPREAD, FACTOR, NOISE] = [1.2, 0.35, 0.15];

/** Tasks of four classes: x = A2 tanh(A1 z) + noise, z of a class N(1.2 N, 0.35 N) in all directions, squeezed to 0 to 1. */
export function syntheticTasks(tasks: number, learned: number, seed: number): Task[] {
  const first = scaled(normal(HIDDEN * LATENT, seed + 1), 1.3 / Math.sqrt(LATENT));
  const second = scaled(normal(WIDTH * HIDDEN, seed + 2), 1 / Math.sqrt(HIDDEN));
  return Array.from({ length: tasks }, (_, task) => {
    const classes = Array.from({ length: CLASSES }, (_, at) => task * CLASSES + at);
    const rows = (count: number, part: number): Rows => {
      const x = new Float32Array(CLASSES * count * WIDTH);
      const labels = Int32Array.from({ length: CLASSES * count }, (_, row) => classes[row % CLASSES] as number);
      for (const label of classes) {
        const middle = scaled(normal(LATENT, seed + 1000 * label + 3), SPREAD);
        const factor = scaled(normal(LATENT * LATENT, seed + 1000 * label + 4), FACTOR);
        const draws = normal(count * LATENT, seed + 1000 * label + part);
        for (let at = 0; at < count; at++) {
          const own = draws.subarray(at * LATENT, (at + 1) * LATENT);
          const z = product(factor, own, LATENT).map((each, c) => each + (middle[c] as number));
          const y = product(second, product(first, z, HIDDEN).map(Math.tanh), WIDTH);
          x.set(y, (at * CLASSES + (label % CLASSES)) * WIDTH);
        }
      }
      const noise = normal(x.length, seed + 10 * task + part + 7);
      return { width: WIDTH, x: x.map((each, at) => squeezed(each + NOISE * (noise[at] as number))), labels };
    };
    return { name: `task ${task + 1}`, classes, learned: rows(learned, 5), unseen: rows(UNSEEN, 6) };
  });
}

const scaled = (x: Float32Array, factor: number) => x.map((each) => factor * each);
const squeezed = (x: number) => 1 / (1 + Math.exp(-2 * x));

/** A matrix [rows, columns] times a vector. */
function product(matrix: Float32Array, x: Float32Array, rows: number): Float32Array {
  const columns = x.length;
  return Float32Array.from({ length: rows }, (_, row) =>
    x.reduce((sum, each, c) => sum + each * (matrix[row * columns + c] as number), 0),
  );
}
