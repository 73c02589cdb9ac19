import { checkArray, checkKnown, checkParams } from '../check';
import { ParameterError } from '../errors';
import { causal } from './band';
import { blocks } from './blocks';
import { checkWhole } from './check';
import { and, or } from './combine';
import { everyNth } from './intervals';
import { interned, type Mask } from './mask';

/** One level: within segments of `segment` positions, those divisible by `dilation` see each other. */
export interface LongNetLevel {
  readonly segment: number;
  readonly dilation: number;
}

const LEVELS: readonly LongNetLevel[] = [1, 2, 4, 8, 16].map((dilation) => ({ segment: 8 * dilation, dilation }));

/**
 * LongNet's dilated segments, causal, in blocks of `block` tokens: the longer a segment, the sparser.
 * Sources: Ding et al. 2023, arXiv 2307.02486; as a bitwise formula: Chen et al. 2025, arXiv 2503.03588, algorithm 5.
 */
export function longNet(
  params: { readonly block?: number | undefined; readonly levels?: readonly LongNetLevel[] | undefined } = {},
): Mask {
  checkParams('longNet', params, ['block', 'levels']);
  const { block = 1, levels = LEVELS } = params;
  checkArray('levels', levels);
  checkWhole('block', block, 1);
  if (levels.length === 0) throw new ParameterError('levels of LongNet must be at least one, got none');
  return and(causal(), blocks(block, or(...Array.from(levels, longNetLevel))));
}

function longNetLevel(level: LongNetLevel): Mask {
  checkKnown('one of levels', level, ['segment', 'dilation'], (name) => `one of levels has no '${name}'`);
  const { segment, dilation } = level;
  checkWhole('segment of LongNet', segment, 1);
  checkWhole('dilation of LongNet', dilation, 1);
  return interned({
    name: `segments ${segment} step ${dilation}`,
    sees(i, j, { n, m }) {
      const position = i + m - n;
      const divisible = position % dilation === 0 && j % dilation === 0;
      return divisible && Math.floor(position / segment) === Math.floor(j / segment);
    },
    intervals(i, { n, m }) {
      const position = i + m - n;
      if (position < 0 || position % dilation !== 0) return [];
      const start = Math.floor(position / segment) * segment;
      const first = Math.ceil(start / dilation) * dilation;
      return everyNth(first, Math.min(m, start + segment), dilation);
    },
  });
}
