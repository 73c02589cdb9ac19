/** What linear algebra finds wrong with a matrix, and what to do about it. */
import { ParameterError } from '../../errors';
import type { Expectation } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';
import { ASYMMETRIC, BAD_PIVOT, FINE } from './params.generated';

/** By the status of rows [..., n]: what the matrix should not be from the start, then bad pivots, which `badPivot` explains for a row. */
export function faultsOfRows(op: string, status: Tensor, badPivot: (row: number) => string): Expectation[] {
  const n = status.shape.at(-1) as number;
  const where = (place: number) => (status.size > n ? ` (matrix ${Math.floor(place / n)})` : '');
  const fault = (most: number): Expectation => ({
    tensor: status,
    least: FINE,
    most,
    error: (state, place) =>
      new ParameterError(
        `a of ${op}${where(place)} ${state === BAD_PIVOT ? badPivot(place % n) : flaw(state, place % n)}`,
      ),
  });
  return [fault(BAD_PIVOT), fault(FINE)];
}

const flaw = (state: number, row: number): string =>
  state === ASYMMETRIC
    ? `must be symmetric, its row ${row} is not: pass (a + a^T) / 2, or what it was meant to be`
    : `must hold finite numbers, its row ${row} has NaN or infinity`;

export const indefinite = (row: number): string =>
  `is not positive definite: pivot ${row} is not above 0 in its element type; add a ridge to its diagonal, such as 1e-6 of the diagonal's mean, or cast an f32 matrix to f64`;

export const singular = (row: number): string =>
  `is singular: pivot ${row} is 0, as far as its element type tells; leave out rows that follow from others, add a ridge to its diagonal, or use lstsq`;

export const dependent = (column: number): string =>
  `has no one solution: its column ${column} follows from those before it, as far as f32 tells; leave it out, or add a ridge to a^T a and use solve`;
