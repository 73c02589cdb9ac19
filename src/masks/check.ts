/** Checks of params and of the problem, for several masks. */
import { checkRecord, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Extent, Mask, Place } from './mask';

export { checkWhole };

const EXTENTS = ['b', 'n', 'm', 'h', 'g'] as const;

/** Throws a ParameterError unless `extent` is that of a problem. */
export function checkExtent(what: string, extent: Extent): void {
  checkRecord(what, extent);
  for (const name of EXTENTS) checkWhole(`${name} of ${what}`, extent[name], 1);
  if (extent.h % extent.g !== 0) throw new ParameterError(`g of ${what} must divide h = ${extent.h}, got ${extent.g}`);
}

/** Int32 ids or orders of more tokens would take a GiB. */
const MOST_TOKENS = 2 ** 28;

/** Throws a ParameterError unless memory for an int32 of each of `count` tokens may be taken. */
export function checkTokenCount(what: string, count: number): void {
  checkWhole(what, count, 1);
  if (count > MOST_TOKENS) throw new ParameterError(`${what} must be at most ${MOST_TOKENS}, got ${count}`);
}

/** Throws a ParameterError unless `place` is one head of a problem. */
export function checkPlace(place: Place): void {
  checkExtent('place', place);
  checkWhole('batch of place', place.batch, 0, place.b - 1);
  checkWhole('head of place', place.head, 0, place.h - 1);
}

/** Throws a ParameterError unless `mask` is one, in a form that kernels can take. */
export function checkMask(what: string, mask: Mask): void {
  if (typeof mask?.sees !== 'function') throw new ParameterError(`${what} must be a Mask, got ${show(mask)}`);
  if (!mask.intervals && !mask.words) {
    throw new ParameterError(`${what} must have intervals or words besides sees, got neither in "${mask.name}"`);
  }
}

/** Throws a ShapeError unless queries and keys are the same `tokens` tokens. */
export function checkTokens(mask: string, tokens: number, { n, m }: Extent): void {
  if (n === tokens && m === tokens) return;
  throw new ShapeError(`mask "${mask}" needs ${tokens} queries and as many keys, got ${n} queries and ${m} keys`);
}
