/** What linear algebra finds wrong with a matrix, and what to do about it. */
import { ParameterError } from '../../errors';
import type { Expectation } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';
import { BAD_PIVOT, FINE } from './params.generated';

/** By the status of rows [..., n]: those that are not symmetric, then bad pivots, which `badPivot` explains for a row. */
export function faultsOfRows(op: string, status: Tensor, badPivot: (row: number) => string): Expectation[] {
  const n = status.shape.at(-1) as number;
  const where = (place: number) => (status.size > n ? ` (matrix ${Math.floor(place / n)})` : '');
  const expected = { tensor: status, least: FINE, most: FINE };
  return [
    {
      ...expected,
      except: BAD_PIVOT,
      error: (_, place) =>
        new ParameterError(
          `a of ${op} must be symmetric, its row ${place % n}${where(place)} is not: pass (a + a^T) / 2, or what it was meant to be`,
        ),
    },
    { ...expected, error: (_, place) => new ParameterError(`a of ${op}${where(place)} ${badPivot(place % n)}`) },
  ];
}

export const indefinite = (row: number): string =>
  `is not positive definite: pivot ${row} is not above 0 in its element type; add a ridge to its diagonal, such as 1e-6 of the diagonal's mean`;

export const singular = (row: number): string =>
  `is singular: pivot ${row} is 0, as far as its element type tells; leave out rows that follow from others, add a ridge to its diagonal, or use lstsq`;
