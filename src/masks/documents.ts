import { checkNumbers, int32Of } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkTokenCount, checkTokens, checkWhole } from './check';
import { pushRun } from './intervals';
import type { Mask } from './mask';

/**
 * The tokens of the query's own document: those with its id. Documents need be neither contiguous nor sorted.
 *
 * @param ids [batches, tokens], row after row: integers in a plain or typed array
 * @param batches 1, or as many as the problem has
 */
export function documents(ids: ArrayLike<number>, batches = 1): Mask {
  checkWhole('batches of document ids', batches, 1);
  // A copy: the runs below would not follow a change.
  const own = int32Of('document ids', ids).slice();
  if (ids.length === 0 || ids.length % batches !== 0) {
    throw new ParameterError(
      `document ids must be [${batches}, tokens], a positive multiple of ${batches} numbers, got ${ids.length}`,
    );
  }
  const tokens = own.length / batches;
  const runs = Array.from({ length: batches }, (_, row) => runsById(own.subarray(row * tokens, (row + 1) * tokens)));
  const count = runs.reduce((sum, { size }) => sum + size, 0);
  const name = `${count} documents in ${batches === 1 ? '' : `${batches} x `}${tokens} tokens`;
  const row = (batch: number) => (batches === 1 ? 0 : batch);
  return {
    name,
    sees(i, j, { batch }) {
      const first = row(batch) * tokens;
      return own[first + i] === own[first + j];
    },
    intervals: (i, { batch }) => runs[row(batch)]?.get(own[row(batch) * tokens + i] as number) as number[],
    variant: ({ batch }) => row(batch),
    check(extent) {
      checkTokens(name, tokens, extent);
      if (batches !== 1 && batches !== extent.b) {
        throw new ShapeError(`mask "${name}" has ids for ${batches} batches, got ${extent.b} batches`);
      }
    },
  };
}

/** The ids of contiguous documents: 0 for the first of `lengths`, 1 for the second, ... */
export function documentIds(lengths: ArrayLike<number>): Int32Array {
  const bounds = boundsOf(lengths);
  const tokens = bounds.at(-1) as number;
  if (tokens > 0) checkTokenCount('length of all documents', tokens);
  const ids = new Int32Array(tokens);
  for (let id = 0; id < lengths.length; id++) ids.fill(id, bounds[id], bounds[id + 1]);
  return ids;
}

/** Where each document starts, and where the last ends. */
export function boundsOf(lengths: ArrayLike<number>): number[] {
  checkNumbers(
    'lengths of documents',
    lengths,
    'integers >= 1',
    (length) => Number.isSafeInteger(length) && length >= 1,
  );
  const bounds = [0];
  for (let at = 0; at < lengths.length; at++) bounds.push((bounds[at] as number) + (lengths[at] as number));
  if (lengths.length === 0) throw new ParameterError('lengths of documents must be at least one, got none');
  return bounds;
}

function runsById(ids: Int32Array): Map<number, number[]> {
  const runs = new Map<number, number[]>();
  ids.forEach((id, key) => {
    const known = runs.get(id) ?? [];
    pushRun(known, key, key + 1);
    runs.set(id, known);
  });
  return runs;
}
