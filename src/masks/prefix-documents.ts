import { causal } from './band';
import { checkWhole } from './check';
import { and, or } from './combine';
import { boundsOf, documentIds, documents } from './documents';
import { pushRun } from './intervals';
import type { Mask } from './mask';

/**
 * Documents of which each is a prefix language model: a token sees the first `count` tokens of its document, and
 * causally the others.
 * Source: LongCA-bench, arXiv 2510.17896.
 */
export function prefixDocuments(lengths: ArrayLike<number>, count: number): Mask {
  checkWhole('count of prefix', count, 0);
  const own = documents(documentIds(lengths));
  const mask = and(own, or(causal(), prefixes(lengths, count)));
  return { ...mask, name: `prefix ${count} of ${own.name}` };
}

/** The first `count` keys of every document, for every query. */
function prefixes(lengths: ArrayLike<number>, count: number): Mask {
  const bounds = boundsOf(lengths);
  const runs: number[] = [];
  for (const [at, start] of bounds.slice(0, -1).entries()) {
    pushRun(runs, start, start + Math.min(lengths[at] as number, count));
  }
  const first = documentIds(lengths).map((id, j) => (j - (bounds[id] as number) < count ? 1 : 0));
  return {
    name: `prefixes ${count}`,
    sees: (_, j) => first[j] === 1,
    intervals: () => runs,
  };
}
