/** What the masks of the benchmark are made of at some number of tokens: given, or drawn as its code does. */
import { ParameterError, ShapeError } from '../../../errors';
import type { BlockSparse } from '../../../masks/block-sparse';
import { LONGCA_MASKS, type LongCaParams } from '../../../masks/longca';
import { drawLengths, type LengthTable } from '../../../masks/longca-lengths';
import { uniformGenerator } from '../../../tensor/random';

const STATIC = LONGCA_MASKS.map(({ name }) => name);
const DYNAMIC = ['uniform-block-sparse', 'variable-block-sparse'] as const;
/** The fourteen masks by name. */
export const MASK_NAMES = [...STATIC, ...DYNAMIC] as readonly string[];

/** Masks that let no query see a later key. */
export const CAUSAL_MASKS = [
  'causal',
  'causal-document',
  'sliding-window-causal',
  'share-question',
  'causal-blockwise',
];

export interface LongCaSettings {
  readonly mask: string;
  readonly documents?: readonly number[] | undefined;
  readonly table?: LengthTable | undefined;
  readonly window?: number | undefined;
  readonly prefix?: number | undefined;
  readonly block?: number | undefined;
  readonly ratio: number;
  readonly acrossQueries: boolean;
  readonly seed: number;
}

/** Tokens of a window and of a block where they are not drawn. */
const USUAL = { window: 1024, block: 1024, sparse: 64 };
/** The most blocks of a document of the block-causal mask. */
const MOST_BLOCKS = 8;

/** An integer from `least` to `most`. */
const drawn = (seed: number, least: number, most: number) =>
  least + Math.floor(uniformGenerator(seed)() * (Math.max(least, most) - least + 1));

export const isDynamic = ({ mask }: Pick<LongCaSettings, 'mask'>) => (DYNAMIC as readonly string[]).includes(mask);

/** Throws unless there are as many queries as keys. */
export function tokensOf({ n, m }: { readonly n: number; readonly m: number }): number {
  if (n === m) return n;
  throw new ShapeError(`the masks of longca are for as many queries as keys, got ${n} and ${m}`);
}

/** The params of a static mask over so many tokens. */
export function staticParams(settings: LongCaSettings, tokens: number): LongCaParams {
  const { mask, seed, window, prefix, block = USUAL.block } = settings;
  const lengths = lengthsOf(settings, tokens, block);
  const [first] = lengths as [number, ...number[]];
  const reach = mask === 'global-sliding-window' ? drawn(seed + 1, 1, Math.floor(tokens / 3) - 1) : USUAL.window;
  const most = mask === 'prefix-lm-document' ? first : tokens;
  return { tokens, lengths, window: window ?? reach, prefix: prefix ?? drawn(seed + 2, 1, most), block };
}

function lengthsOf({ mask, documents, table, seed }: LongCaSettings, tokens: number, block: number): readonly number[] {
  if (documents) {
    const sum = documents.reduce((sum, length) => sum + length, 0);
    if (sum !== tokens)
      throw new ParameterError(`documents must hold the ${tokens} tokens together, got ${sum} in ${documents.length}`);
    return documents;
  }
  if (mask !== 'block-causal-document') return drawLengths(tokens, seed, table);
  const next = uniformGenerator(seed);
  const lengths: number[] = [];
  for (let left = tokens; left > 0; left -= lengths.at(-1) as number)
    lengths.push(Math.min(left, block * (1 + Math.floor(next() * MOST_BLOCKS))));
  return lengths;
}

/** The params of a mask of chosen blocks over so many tokens and heads of keys. */
export function dynamicParams(settings: LongCaSettings, tokens: number, heads: number): BlockSparse {
  const { mask, block = USUAL.sparse, ratio, acrossQueries, seed } = settings;
  return { tokens, heads, block, ratio, acrossQueries, seed, variable: mask === 'variable-block-sparse' };
}
