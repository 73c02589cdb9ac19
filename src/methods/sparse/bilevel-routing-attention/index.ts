/**
 * Bilevel routing attention: regions of a picture find the regions that are most like them, and their tokens attend within these.
 * Sources: Zhu et al. 2023, arXiv 2303.08810, and the authors' code, whose scale is that of the whole width.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes, gridOf, sizeOf } from '../../../tensor/shape';
import { defineMethod } from '../../define';
import { perAxis, scale } from '../../schema';
import { reference } from './reference';
import { routedAttention } from './route';

const count = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1));

export const bilevelRoutingAttention = defineMethod({
  name: 'bilevel-routing-attention',
  short: 'BRA',
  family: 'sparse',
  summary: 'exact attention of the tokens of a picture within the regions that are most like their own',
  paper: '2303.08810',
  inputs: { q: 'b ...space h d', k: 'b ...space h d', v: 'b ...space h e' },
  outputs: { out: 'b ...space h e' },
  params: valibot.strictObject({
    regions: valibot.optional(
      perAxis(count, 'regions along all axes of the picture, or a list with one for each; they divide its extents'),
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
    const letters = bindShapes(inputs, { q: q.shape, k: k.shape, v: v.shape }) as Readonly<Record<'h' | 'd', number>>;
    const space = q.shape.slice(1, -2);
    const counts = regionsOf(params.regions, space);
    const all = sizeOf(counts);
    const { topRegions, scale = 1 / Math.sqrt(letters.h * letters.d) } = params;
    if (topRegions > all) throw new ParameterError(`topRegions must be at most the ${all} regions, got ${topRegions}`);
    const region = space.map((extent, axis) => extent / (counts[axis] as number));
    return { out: routedAttention(q, k, v, { region, topRegions, scale }, control) };
  },

  cost(letters, { regions, topRegions }) {
    const { b, h, d, e } = letters;
    const space = gridOf(letters);
    const n = sizeOf(space);
    const count = sizeOf(regionsOf(regions, space));
    const pairs = (b * h * n * n * topRegions) / count;
    return {
      flops: 2 * b * h * d * (n + count * count) + 2 * (d + e) * pairs,
      bytes: 4 * b * n * h * 2 * (d + e),
      state: 0,
      visited: topRegions / count,
    };
  },

  variants: (letters) =>
    [7, 8, 4, 2, 1]
      .filter((each) => gridOf(letters).every((extent) => extent % each === 0))
      .slice(0, 1)
      // With the scale of attention, which they are compared with.
      .flatMap((regions) =>
        [4, 1]
          .filter((topRegions) => topRegions <= regions)
          .map((topRegions) => ({ regions, topRegions, scale: 1 / Math.sqrt(letters.d) })),
      ),
  page: () => import('./page'),
});

/** Regions along each axis; throws unless they divide it. */
function regionsOf(regions: number | readonly number[], space: readonly number[]): number[] {
  if (typeof regions !== 'number' && regions.length !== space.length)
    throw new ParameterError(`regions must be one for each of the ${space.length} axes of q, got ${regions.length}`);
  return space.map((extent, axis) => {
    const count = typeof regions === 'number' ? regions : (regions[axis] as number);
    if (extent % count !== 0)
      throw new ParameterError(
        `regions must divide the extent ${extent} of axis ${axis} of the grid, got ${count}: pad it`,
      );
    return count;
  });
}
