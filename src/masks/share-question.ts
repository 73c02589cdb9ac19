import { causal } from './band';
import { and, or } from './combine';
import { documentIds, documents } from './documents';
import { prefix } from './first';
import type { Mask } from './mask';

/**
 * A question, the first of `lengths`, and answers to it that see the question and causally themselves, but not each
 * other: a prompt for reward models and preference training.
 * Source: LongCA-bench, arXiv 2510.17896.
 */
export function shareQuestion(lengths: ArrayLike<number>): Mask {
  const own = documents(documentIds(lengths));
  const mask = and(causal(), or(own, prefix(lengths[0] as number)));
  return { ...mask, name: `share question of ${own.name}` };
}
