/**
 * Bilevel routing attention: regions of a picture find the regions that are most like them, and their tokens attend within these.
 * Sources: Zhu et al. 2023, arXiv 2303.08810, and the authors' code, whose scale is that of the whole width.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes } from '../../../tensor/shape';
import { defineMethod } from '../../define';
import { scale } from '../../schema';
import { reference } from './reference';
import { routedAttention } from './route';

const count = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1));

export const bilevelRoutingAttention = defineMethod({
  name: 'bilevel-routing-attention',
  short: 'BRA',
  family: 'sparse',
  summary: 'exact attention of the tokens of a picture within the regions that are most like their own',
  paper: '2303.08810',
  inputs: { q: 'b rows columns h d', k: 'b rows columns h d', v: 'b rows columns h e' },
  outputs: { out: 'b rows columns h e' },
  params: valibot.strictObject({
    regions: valibot.optional(
      valibot.pipe(
        valibot.union([count, valibot.strictTuple([count, count])]),
        valibot.description('regions along both axes, or [rows, columns]; they divide those of the picture'),
      ),
      7,
    ),
    topRegions: valibot.pipe(count, valibot.description('regions that each region sees')),
    scale,
  }),
  isCausal: () => false,

  reference,

  forward({ q, k, v }, params, control = {}) {
    checkFloat32(bilevelRoutingAttention.name, { q, k, v }, {});
    checkContiguous({ q, k, v });
    const { inputs } = bilevelRoutingAttention;
    const { rows, columns, h, d } = bindShapes(inputs, { q: q.shape, k: k.shape, v: v.shape }) as Extents;
    const { topRegions, scale = 1 / Math.sqrt(h * d) } = params;
    const [down, across] = regionsOf(params.regions);
    checkDivides('rows', rows, down);
    checkDivides('columns', columns, across);
    if (topRegions > down * across)
      throw new ParameterError(`topRegions must be at most the ${down * across} regions, got ${topRegions}`);
    const region = [rows / down, columns / across] as const;
    return { out: routedAttention(q, k, v, { region, topRegions, scale }, control) };
  },

  cost({ b, rows, columns, h, d, e }, { regions, topRegions }) {
    const [n, count] = [rows * columns, regionsOf(regions).reduce((product, each) => product * each)];
    const pairs = (b * h * n * n * topRegions) / count;
    return {
      flops: 2 * b * h * d * (n + count * count) + 2 * (d + e) * pairs,
      bytes: 4 * b * n * h * 2 * (d + e),
      state: 0,
      visited: topRegions / count,
    };
  },

  variants: ({ rows, columns }) =>
    [7, 8, 4, 2]
      .filter((each) => rows % each === 0 && columns % each === 0)
      .map((regions) => ({ regions, topRegions: Math.min(4, regions) }))
      .slice(0, 1),
  page: () => import('./page'),
});

type Extents = Readonly<Record<'rows' | 'columns' | 'h' | 'd', number>>;

const regionsOf = (regions: number | readonly [number, number]): readonly [number, number] =>
  typeof regions === 'number' ? [regions, regions] : regions;

function checkDivides(axis: string, extent: number, regions: number): void {
  if (extent % regions !== 0)
    throw new ParameterError(`regions must divide the ${extent} ${axis} of q, got ${regions}: pad the picture`);
}
