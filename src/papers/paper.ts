/** What a paper's file says. Whether its methods exist is not said there: it follows from the registries. */

/** The families in the order of the atlas, each with a sentence that sets it apart. */
export const FAMILIES = {
  exact: 'Every pair counts: what all others are measured against.',
  'fixed masks': 'Position alone decides which keys a token sees.',
  'chosen keys': 'The data decide: a cheap look first, exact attention to what is worth it.',
  'pruned tokens': 'Whole tokens are dropped, or picked out for a closer look.',
  'linear and recurrent': 'What was seen is summed into a state of fixed size; no pair is ever stored.',
  'local linear': 'Attention as regression: a line fitted around each query, where softmax fits a constant.',
  'large kernels': 'Convolutions wide enough to do the work of attention on images.',
  'kernel methods': 'Random features and kernel regression: their theory and two uses.',
} as const;

export type Family = keyof typeof FAMILIES;

/** How to read a paper's picture in the atlas. */
interface PictureKey {
  /** What is drawn, with its setting. */
  readonly shows: string;
  /** What ink means; default: as in its family. */
  readonly ink?: string;
  /** The pairs whose share it tells, where its ink is reach through layers: all, or those of a query and its past. */
  readonly reach?: 'all' | 'past';
}

/** A claim that is to be tested once there is something to run; an experiment has those that are. */
interface OpenClaim {
  /** In our words, with its figures. */
  readonly claim: string;
  /** The place: a section, a table, a file. */
  readonly source: string;
  /** How sure we are that the paper says so; what is reconstructed, or counted here, it does not say. */
  readonly mark: 'from the paper' | "from the authors' code" | 'from a third party' | 'reconstructed';
}

/** The operations of a head, for the curve of a paper's cost. */
interface Operations {
  /** The setting, in a few words. */
  readonly setting: string;
  /** Multiplications and additions over n tokens, for a head of d numbers. */
  count(n: number, d: number): number;
}

export interface Paper {
  /** Its name in lists. */
  readonly name: string;
  readonly title: string;
  /** Their family names, or their number if that is all we know. */
  readonly authors: string;
  /** Its arXiv number, by which methods and models name it; it begins with the year. */
  readonly arxiv: string;
  readonly family: Family;
  /** Operations by the number n of tokens, inside O(), or in words. */
  readonly order: string;
  /** How the operations grow with the length. */
  readonly cost: 'linear' | 'between' | 'quadratic' | 'other';
  /** Until a method of its own counts them. */
  readonly operations?: Operations;
  /** Whether a model must be trained with it; `none` where there is no model. */
  readonly training: 'needed' | 'not needed' | 'either way' | 'none';
  /** The idea, in a sentence or two. */
  readonly summary: string;
  readonly picture?: PictureKey;
  /** Problems that lead to it, in the words of those who have them: the atlas searches them by meaning. */
  readonly problems: readonly string[];
  /** Methods by name, present or to come: its own, and those of other papers that it uses. */
  readonly methods?: readonly string[];
  /** Models by name, present or to come. */
  readonly models?: readonly string[];
  /** Pipelines by name, present or to come. */
  readonly pipelines?: readonly string[];
  /** Other missing parts of the paper, in words. */
  readonly lacking?: string;
  readonly claims?: readonly OpenClaim[];
}
