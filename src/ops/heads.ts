/**
 * What ops on the heads of queries, keys and values share.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { ShapeError } from '../errors';
import { LARGEST_HEAD } from '../runtime/cpu/params';
import { type Extents, formatShape } from '../tensor/shape';
import { floats, number } from './define';
import type { Operand } from './operand';

export const STRIDED = { strided: true } as const;

/** Each key/value head serves as many query heads. */
export const tokens = {
  q: floats('b n h d', STRIDED),
  k: floats('b m g d', STRIDED),
  v: floats('b m g e', STRIDED),
};

/** Results in the shapes and element types of queries, keys and values. */
export const gradients = {
  gradQ: floats('b n h d', { like: 'q', fresh: true }),
  gradK: floats('b m g d', { like: 'k', fresh: true }),
  gradV: floats('b m g e', { like: 'v', fresh: true }),
};

export const largestHead = { d: LARGEST_HEAD, e: LARGEST_HEAD };

/** By 1 / sqrt(d), unless it is given. */
export const scale = number({}, ({ d }) => 1 / Math.sqrt(d as number));

/** Throws unless each key/value head has as many query heads. */
export function checkHeads({ h, g }: Extents, { q, k }: Readonly<Record<string, Operand>>): void {
  if ((h as number) % (g as number) === 0) return;
  const [queries, keys] = [q, k].map((x) => formatShape((x as Operand).shape));
  throw new ShapeError(`the ${g} heads of k ${keys} must divide the ${h} heads of q ${queries}`);
}
