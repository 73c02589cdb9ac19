/**
 * The twelve static masks of the Long-Context Attention Benchmark, each from one source: a mask, of which predicate,
 * intervals, tiles, area and columns follow, and the list of slices that paints it.
 * Source: LongCA-bench, arXiv 2510.17896.
 */
import { checkKnown, checkWhole } from '../check';
import { band, causal, full } from './band';
import { blockCausal } from './blocks';
import { causalBlockwise } from './causal-blockwise';
import { and, or } from './combine';
import { boundsOf, documentIds, documents } from './documents';
import { prefix } from './first';
import { globalSliding } from './global-sliding';
import type { Mask } from './mask';
import { prefixDocuments } from './prefix-documents';
import { shareQuestion } from './share-question';
import type { Slice, SliceKind } from './slices';

/** The inputs of the masks; each takes what it needs. */
export interface LongCaParams {
  readonly tokens: number;
  /** Tokens of each document; together `tokens`. */
  readonly lengths: readonly number[];
  /** Keys seen to a side, besides the query's own. */
  readonly window: number;
  /** Tokens of the prefix. */
  readonly prefix: number;
  /** Tokens of a block; documents of the block-causal mask are whole numbers of them. */
  readonly block: number;
}

/** A mask of the benchmark by its name. */
export interface LongCaMask {
  readonly name: string;
  mask(params: LongCaParams): Mask;
  /** Disjoint slices. */
  slices(params: LongCaParams): Slice[];
}

const DEFINITIONS: readonly LongCaMask[] = [
  {
    name: 'full',
    mask: full,
    slices: ({ tokens }) => slice('full', [0, tokens], [0, tokens]),
  },
  {
    name: 'causal',
    mask: causal,
    slices: ({ tokens }) => slice('causal', [0, tokens], [0, tokens]),
  },
  {
    name: 'full-document',
    mask: ({ lengths }) => documents(documentIds(lengths)),
    slices: ({ lengths }) => rangesOf(lengths).flatMap((own) => slice('full', own, own)),
  },
  {
    name: 'causal-document',
    mask: ({ lengths }) => and(causal(), documents(documentIds(lengths))),
    slices: ({ lengths }) => rangesOf(lengths).flatMap((own) => slice('causal', own, own)),
  },
  {
    name: 'sliding-window',
    mask: ({ window }) => band(window, window),
    slices: ({ tokens, window }) => slidingSlices(0, tokens, window),
  },
  {
    name: 'sliding-window-causal',
    mask: ({ window }) => band(window, 0),
    slices({ tokens, window }) {
      const head = Math.min(window + 1, tokens);
      return [...slice('causal', [0, head], [0, head]), ...slice('bicausal', [head, tokens], [1, tokens])];
    },
  },
  {
    name: 'share-question',
    mask: ({ lengths }) => shareQuestion(lengths),
    slices({ tokens, lengths }) {
      const [question, first, ...others] = rangesOf(lengths) as [Range, ...Range[]];
      const head = first?.[1] ?? tokens;
      return [
        ...slice('causal', [0, head], [0, head]),
        ...slice('full', [head, tokens], question),
        ...others.flatMap((own) => slice('causal', own, own)),
      ];
    },
  },
  {
    name: 'causal-blockwise',
    mask: ({ lengths }) => causalBlockwise(lengths),
    slices({ tokens, lengths }) {
      const ranges = rangesOf(lengths);
      const last = ranges.at(-1) as Range;
      return [
        ...ranges.slice(0, -1).flatMap((own) => slice('causal', own, own)),
        ...slice('causal', last, [0, tokens]),
      ];
    },
  },
  {
    name: 'prefix-lm-causal',
    mask: ({ prefix: count }) => or(causal(), prefix(count)),
    slices: ({ tokens, prefix: count }) => prefixSlices([0, tokens], count),
  },
  {
    name: 'prefix-lm-document',
    mask: ({ lengths, prefix: count }) => prefixDocuments(lengths, count),
    slices: ({ lengths, prefix: count }) => rangesOf(lengths).flatMap((own) => prefixSlices(own, count)),
  },
  {
    name: 'global-sliding-window',
    mask: ({ window }) => globalSliding(window, 2 * window),
    slices({ tokens, window }) {
      const head = Math.min(2 * window, tokens);
      return [
        ...slice('full', [0, head], [0, tokens]),
        ...slice('full', [head, tokens], [0, head]),
        ...slidingSlices(head, tokens, window),
      ];
    },
  },
  {
    name: 'block-causal-document',
    mask: ({ lengths, block }) => and(blockCausal(block), documents(documentIds(lengths))),
    slices: ({ lengths, block }) =>
      rangesOf(lengths).flatMap(([start, end]) =>
        Array.from({ length: Math.ceil((end - start) / block) }, (_, at) => {
          const past = Math.min(start + (at + 1) * block, end);
          return slice('full', [start + at * block, past], [start, past]);
        }).flat(),
      ),
  },
];

/** The twelve masks of the LongCA benchmark (arXiv 2510.17896), as masks and as slices. */
export const LONGCA_MASKS: readonly LongCaMask[] = DEFINITIONS.map(({ name, mask, slices }) => ({
  name,
  mask: (params) => mask(checked(params)),
  slices: (params) => slices(checked(params)),
}));

const COUNTS = ['tokens', 'window', 'prefix', 'block'] as const;

function checked(params: LongCaParams): LongCaParams {
  checkKnown('params', params, [...COUNTS, 'lengths'], (name) => `LongCA-bench has no param '${name}'`);
  for (const name of COUNTS) checkWhole(name, params[name], name === 'tokens' || name === 'block' ? 1 : 0);
  boundsOf(params.lengths);
  return params;
}

type Range = readonly [first: number, past: number];

/** One slice, or none where it has no queries or no keys. */
function slice(kind: SliceKind, queries: Range, keys: Range): Slice[] {
  return queries[0] < queries[1] && keys[0] < keys[1] ? [{ queries, keys, kind }] : [];
}

function rangesOf(lengths: readonly number[]): Range[] {
  const bounds = boundsOf(lengths);
  return lengths.map((_, at) => [bounds[at] as number, bounds[at + 1] as number]);
}

/** A window to both sides among the tokens from `first` to `past` - 1. */
function slidingSlices(first: number, past: number, window: number): Slice[] {
  const [head, tail] = [first + window + 1, past - window - 1];
  if (head <= tail) {
    return [
      ...slice('causal', [first, head], [first, head + window]),
      ...slice('bicausal', [head, tail], [first + 1, past - 1]),
      ...slice('inverse', [tail, past], [tail - window, past]),
    ];
  }
  return Array.from({ length: Math.max(0, past - first) }, (_, at) => {
    const i = first + at;
    return slice('full', [i, i + 1], [Math.max(first, i - window), Math.min(past, i + window + 1)]);
  }).flat();
}

function prefixSlices([start, end]: Range, count: number): Slice[] {
  const past = Math.min(start + count, end);
  return [...slice('full', [start, past], [start, past]), ...slice('causal', [past, end], [start, end])];
}
