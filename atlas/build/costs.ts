/** The cost of a paper by length: as its method counts it, or by the formula that the paper's file has. */
import { lettersOf } from '../../src/methods/page';
import { baseline } from '../../src/methods/registry';
import type { ListedPaper } from '../../src/papers';
import { atLength, costInLayer, isAttention } from '../site/problem';
import { pageOf, standingOf } from './standing';

/** Numbers of a head, or channels. */
export const WIDTH = 64;
export const LENGTHS = [8, 9, 10, 11, 12, 13, 14, 15, 16].map((exponent) => 2 ** exponent);

export interface CostCurve {
  readonly setting: string;
  /** Operations at each length; null where the setting does not fit so short a sequence. */
  readonly flops: readonly (number | null)[];
  /** Those of exact attention, where it does the same. */
  readonly exact?: readonly number[];
}

/** The method whose page is the paper's. */
export const ownMethod = (paper: ListedPaper) =>
  standingOf(paper).present.find((method) => method.paper === paper.arxiv);

/** None for what does not grow with a length. */
export function costOf(paper: ListedPaper): CostCurve | undefined {
  if (paper.cost === 'other') return undefined;
  const exact = LENGTHS.map((n) => 4 * n * n * WIDTH);
  const { setting, count } = paper.operations ?? {};
  const method = ownMethod(paper);
  if (!method) return count && { setting: setting!, exact, flops: LENGTHS.map((n) => count(n, WIDTH)) };
  const { params, extents } = pageOf(method.name).sample;
  const parsed = method.parse(params) as never;
  const flops = LENGTHS.map((n) => {
    try {
      return costInLayer(method, lettersOf(atLength({ ...extents, h: 1, d: WIDTH, c: WIDTH }, n)), parsed).flops;
    } catch {
      return null;
    }
  });
  const entries = Object.entries(params).slice(0, 2);
  const said = entries.map(([key, value]) => (value === true ? key : `${key} ${[value].flat().join(' × ')}`));
  return {
    setting: said.join(', ') || 'as by default',
    flops,
    ...(isAttention(method) && method !== baseline && { exact }),
  };
}
