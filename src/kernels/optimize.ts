/** Maxima of functions of a few variables, by their gradients. */
import { nextTurn } from '../next-turn';
import type { Control } from '../runtime/backend';

interface Point {
  readonly value: number;
  readonly gradient: readonly number[];
}

/** How far a variable may go in one step. */
const LONGEST = 1;
const HALVINGS = 20;
/** A gradient that is as good as 0. */
const FLAT = 1e-6;

/**
 * Where `of` has a local maximum near `start`: by steps of BFGS, each halved until the value rises. Points where `of` throws count
 * as lower than all.
 */
export async function ascend(
  start: readonly number[],
  of: (at: readonly number[]) => Promise<Point>,
  maxIterations: number,
  { signal, onProgress }: Control,
): Promise<readonly number[]> {
  const count = start.length;
  let [at, here] = [start, await of(start)];
  // The inverse of minus the Hessian, as far as it is known.
  let inverse = identity(count);
  for (let step = 0; step < maxIterations && largest(here.gradient) > FLAT * (1 + Math.abs(here.value)); step++) {
    onProgress?.(step / maxIterations);
    await nextTurn();
    signal?.throwIfAborted();
    const along = inverse.map((row) => dot(row, here.gradient));
    const direction = dot(along, here.gradient) > 0 ? along : here.gradient;
    const next = await risen(at, here, scaledTo(direction), of);
    if (!next) break;
    inverse = updated(
      inverse,
      next.at.map((x, i) => x - at[i]!),
      next.point.gradient.map((x, i) => here.gradient[i]! - x),
    );
    at = next.at;
    here = next.point;
  }
  return at;
}

const identity = (count: number) =>
  Array.from({ length: count }, (_, i) => Array.from({ length: count }, (_, j) => Number(i === j)));

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((total, x, i) => total + x * b[i]!, 0);

const largest = (values: readonly number[]) => Math.max(...values.map(Math.abs));

function scaledTo(direction: readonly number[]): readonly number[] {
  const length = largest(direction);
  return length > LONGEST ? direction.map((x) => (x * LONGEST) / length) : direction;
}

async function risen(
  at: readonly number[],
  here: Point,
  direction: readonly number[],
  of: (at: readonly number[]) => Promise<Point>,
) {
  const slope = dot(direction, here.gradient);
  for (let halving = 0; halving < HALVINGS; halving++) {
    const length = 0.5 ** halving;
    const tried = at.map((x, i) => x + length * direction[i]!);
    const point = await of(tried).catch(() => undefined);
    if (point && point.value >= here.value + 1e-4 * length * slope) return { at: tried, point };
  }
  return undefined;
}

/** The inverse after a step s along which the gradient fell by y. */
function updated(inverse: number[][], s: readonly number[], y: readonly number[]): number[][] {
  const along = dot(s, y);
  if (!(along > 1e-12)) return inverse;
  const hy = inverse.map((row) => dot(row, y));
  const factor = (1 + dot(y, hy) / along) / along;
  return inverse.map((row, i) =>
    row.map((value, j) => value + factor * s[i]! * s[j]! - (hy[i]! * s[j]! + s[i]! * hy[j]!) / along),
  );
}
