/** What several masks check of their params and of the problem. */
import { ParameterError, ShapeError } from '../errors';
import type { Extent, Mask } from './mask';

/** Throws a ParameterError unless `value` is an integer of at least `least`. */
export function checkWhole(what: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ParameterError(`${what} must be an integer >= ${least}, got ${value}`);
}

/** Int32 ids or orders of more tokens would take a GiB. */
const MOST_TOKENS = 2 ** 28;

/** Throws a ParameterError unless memory for an int32 of each of `count` tokens may be taken. */
export function checkTokenCount(what: string, count: number): void {
  checkWhole(what, count, 1);
  if (count > MOST_TOKENS) throw new ParameterError(`${what} must be at most ${MOST_TOKENS}, got ${count}`);
}

/** Throws a ParameterError unless `ids` are int32; a plain array could hold anything. */
export function checkInt32(what: string, ids: Int32Array): void {
  if (ids instanceof Int32Array) return;
  throw new ParameterError(`${what} must be an Int32Array, got ${Array.isArray(ids) ? 'an array' : typeof ids}`);
}

/** Throws a ParameterError unless `mask` is one, in a form that kernels can take. */
export function checkMask(what: string, mask: Mask): void {
  if (typeof mask?.sees !== 'function') throw new ParameterError(`${what} must be a Mask, got ${mask}`);
  if (!mask.intervals && !mask.words) {
    throw new ParameterError(`${what} must have intervals or words besides sees, got neither in "${mask.name}"`);
  }
}

/** Throws a ShapeError unless queries and keys are the same `tokens` tokens. */
export function checkTokens(mask: string, tokens: number, { n, m }: Extent): void {
  if (n === tokens && m === tokens) return;
  throw new ShapeError(`mask "${mask}" needs ${tokens} queries and as many keys, got ${n} queries and ${m} keys`);
}
