import { causal } from './band';
import { and, not, or } from './combine';
import { boundsOf, documentIds, documents } from './documents';
import { firstQueries } from './first';
import type { Mask } from './mask';

/**
 * Examples that see causally themselves alone, and a last one that sees causally everything: in-context learning.
 * Source: LongCA-bench, arXiv 2510.17896.
 */
export function causalBlockwise(lengths: ArrayLike<number>): Mask {
  const own = documents(documentIds(lengths));
  const last = boundsOf(lengths).at(-2) as number;
  const mask = and(causal(), or(own, not(firstQueries(last))));
  return { ...mask, name: `causal blockwise of ${own.name}` };
}
