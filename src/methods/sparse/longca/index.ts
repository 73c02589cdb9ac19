/**
 * The fourteen masks of the Long-Context Attention Benchmark, by name: twelve fixed ones, whose documents, windows and prefixes are
 * given or drawn as the benchmark draws them, and two of blocks of keys that are chosen by scores.
 * Source: Bu et al. 2025, arXiv 2510.17896, and the authors' code.
 */
import * as valibot from 'valibot';
import { BoundedMap } from '../../../bounded-map';
import { checkRecord } from '../../../check';
import { ParameterError } from '../../../errors';
import { blockLengths, blockScores, blockSparse } from '../../../masks/block-sparse';
import { LONGCA_MASKS, type LongCaMask } from '../../../masks/longca';
import { LENGTH_TABLES } from '../../../masks/longca-lengths';
import type { Mask } from '../../../masks/mask';
import type { Method } from '../../define';
import { defineMaskedMethod } from '../../masked';
import { choice, flag, number, scale, seed, whole } from '../../schema';
import { seesChosen, seesFixed } from './reference';
import {
  CAUSAL_MASKS,
  dynamicParams,
  isDynamic,
  type LongCaSettings,
  MASK_NAMES,
  staticParams,
  tokensOf,
} from './settings';

const length = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1));

export const longca = defineMaskedMethod({
  name: 'longca',
  family: 'sparse',
  summary: 'exact attention under one of the fourteen masks of the Long-Context Attention Benchmark',
  paper: '2510.17896',
  params: valibot.strictObject({
    mask: choice(MASK_NAMES, 'the mask, by its name', 'causal'),
    documents: valibot.optional(
      valibot.pipe(
        valibot.array(length),
        valibot.minLength(1),
        valibot.description('tokens of each document, as many together as there are; else drawn from the table'),
      ),
    ),
    table: choice(
      LENGTH_TABLES,
      'lengths of documents that are drawn; else pile up to 12K tokens, prolong64k up to 64K, and prolong512k',
    ),
    window: whole('keys seen to a side; else 1024, and of global-sliding-window drawn up to a third of the tokens', {
      least: 0,
    }),
    prefix: whole('first keys that all see; else drawn, up to all tokens or those of the first document', { least: 0 }),
    block: whole('tokens of a block; else 1024, and of the sparse masks 64', { least: 1 }),
    ratio: number('share of the blocks of keys that the sparse masks keep', { above: 0, most: 1, preset: 0.2 }),
    acrossQueries: flag('the sparse masks keep the best blocks of all queries together, not of each', false),
    seed: seed('of what is drawn'),
    scale,
  }),
  isCausal: ({ mask }) => CAUSAL_MASKS.includes(mask),

  mask: (params, problem) => maskOf(params, tokensOf(problem), problem.g),
  pairs(params, { b, h, g, ...extent }) {
    if (!isDynamic(params)) return undefined;
    const { pairs } = chosen(params, tokensOf(extent), g);
    return (b * pairs * h) / g;
  },
  sees(params, { h, g, ...extent }) {
    const tokens = tokensOf(extent);
    if (!isDynamic(params)) return seesFixed(params.mask, staticParams(params, tokens));
    const own = dynamicParams(params, tokens, g);
    const scores = Array.from({ length: g }, (_, head) => blockScores(own, head));
    return seesChosen({ ...own, lengths: blockLengths(own), scores }, { h, g });
  },

  /** Most masks are drawn anew for each number of tokens. */
  continuation: ({ mask }) => (mask === 'full' || mask === 'causal' ? undefined : { from: 'inputs', revises: true }),

  /** A mask is compared by its name. */
  variants: () => [],
  page: () => import('./page'),
});

/** The method with one of the masks, under its name: what is given beside it fits that mask. */
export function maskNamed(name: string): Method | undefined {
  if (!MASK_NAMES.includes(name)) return undefined;
  const own: typeof longca = {
    ...longca,
    name: name as 'longca',
    parse(params) {
      checkRecord('params', params);
      if (params.mask !== undefined) throw new ParameterError(`${name} is a mask by itself: leave mask out`);
      return longca.parse({ ...params, mask: name });
    },
    variants: ({ n, m }) => (n === m ? [{}] : []),
  };
  return own as Method;
}

const kept = new BoundedMap<string, Mask>(32);

/** The same mask for the same settings, so that what follows from it is computed once. */
function maskOf(settings: LongCaSettings, tokens: number, heads: number): Mask {
  if (isDynamic(settings)) return chosen(settings, tokens, heads);
  const { mask } = settings;
  const params = staticParams(settings, tokens);
  const { mask: make } = LONGCA_MASKS.find(({ name }) => name === mask) as LongCaMask;
  return kept.get(JSON.stringify([mask, params]), () => make(params));
}

function chosen(settings: LongCaSettings, tokens: number, heads: number): ReturnType<typeof blockSparse> {
  const params = dynamicParams(settings, tokens, heads);
  return kept.get(JSON.stringify(params), () => blockSparse(params)) as ReturnType<typeof blockSparse>;
}
