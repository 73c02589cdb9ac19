/**
 * Where the authors' own forms of a mask disagree, counted on an example.
 * Source: code of LongCA-bench (arXiv 2510.17896), read at 22683e3.
 */
import { area } from './area';
import { band, causal } from './band';
import { and, not, or } from './combine';
import { prefix } from './first';
import { globalSliding } from './global-sliding';
import type { Mask } from './mask';
import { oneHead } from './mask';
import { prefixDocuments } from './prefix-documents';

export interface Disagreement {
  readonly mask: string;
  readonly forms: string;
  /** Pairs of the example by the one and by the other form, and how many differ, where both are known whole. */
  readonly areas: readonly [number, number];
  readonly differing?: number;
}

const TOKENS = 60;
const DOCUMENTS = [11, 15, 20, 14];
const PLACE = oneHead(TOKENS, TOKENS);
/** What the authors' slices of `global-sliding-window` make up, as counted by running their code. */
const THEIR_GLOBAL = 1117;

/** Each with an example of 60 tokens. */
export function disagreements(): Disagreement[] {
  const count = (mask: Mask) => area(mask, PLACE);
  const compare = (mask: string, forms: string, one: Mask, other: Mask): Disagreement => ({
    mask,
    forms,
    areas: [count(one), count(other)],
    differing: count(or(and(one, not(other)), and(other, not(one)))),
  });
  const flex = 'FlexAttention and FlashMask see k ≤ p, the slices k < p';
  return [
    compare('prefix-lm-causal', `${flex} (p = 20)`, or(causal(), prefix(21)), or(causal(), prefix(20))),
    compare(
      'prefix-lm-document',
      `${flex} (documents of ${DOCUMENTS.join(', ')} tokens, p = 6)`,
      prefixDocuments(DOCUMENTS, 7),
      prefixDocuments(DOCUMENTS, 6),
    ),
    compare(
      'sliding-window',
      'FLOPs and the dense mask are those of (w, 0), the slices of (w, w) (w = 7)',
      band(7, 0),
      band(7, 7),
    ),
    {
      mask: 'global-sliding-window',
      forms: 'the slices have global strips of w, causal; FlexAttention and FlashMask of 2w (w = 7)',
      areas: [THEIR_GLOBAL, count(globalSliding(7, 14))],
    },
  ];
}
