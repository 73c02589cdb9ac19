/**
 * Three-state labels of a picture's tokens, from how much an answer attends to each: what a predictor of regions learns from.
 * Source: Shi et al. 2025, arXiv 2509.16944, by reading notes and the authors' code.
 */
import * as valibot from 'valibot';
import { cast } from '../../../ops/copy';
import { cumulativeSum } from '../../../ops/cumulative-sum';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { map } from '../../../ops/map/map';
import { max, sum } from '../../../ops/reduce';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { number } from '../../schema';
import { reference } from './reference';

const share = (description: string, preset: number) => number(description, { least: 0, most: 1, preset });

export const roiLabels = defineMethod({
  name: 'roi-labels',
  family: 'pipelines',
  summary: 'which tokens of a picture an answer looks at, which it does not, and which are left open',
  paper: '2509.16944',
  inputs: { attention: 'b rows columns' },
  optional: { sinks: 'b rows columns' },
  outputs: { labels: 'b rows columns' },
  params: valibot.strictObject({
    sinkThreshold: number('a token with as much in `sinks`, or more, counts as 0', { least: 0, preset: 1e-3 }),
    foreground: share('a token above this share of the largest is looked at', 0.2),
    background: share('a token below this share, outside the box of those looked at, is not', 0.1),
    maximumArea: share('a box with this share of the picture, or more, leaves all tokens open', 0.5),
  }),
  gradient: false,

  reference,

  forward({ attention, sinks }, { sinkThreshold, foreground, background, maximumArea }) {
    const given = { attention, ...(sinks && { sinks }) };
    checkFloat32(roiLabels.name, given, {});
    checkContiguous(given);
    const specs: Record<string, string> = { attention: 'b rows columns', ...(sinks && { sinks: 'b rows columns' }) };
    bindShapes(specs, { attention: attention.shape, ...(sinks && { sinks: sinks.shape }) });
    const [, rows, columns] = attention.shape as [number, number, number];
    return attention.runtime.scope(() => {
      const a = sinks
        ? map((a, sink, { least }) => (sink >= least ? 0 : a), attention, sinks, { captured: { least: sinkThreshold } })
        : attention;
      const most = max(a, { axes: [1, 2], keepDims: true });
      const seen = map((a, most, { share }) => (a > share * most ? 1 : 0), a, most, {
        captured: { share: foreground },
      });
      const [inRows, inColumns] = [extentOf(seen, 1), extentOf(seen, 2)];
      const area = map(
        (height, width) => height * width,
        sum(inRows, { axes: [1], keepDims: true }),
        sum(inColumns, { axes: [2], keepDims: true }),
      );
      const labels = map(
        (a, most, seen, inRows, inColumns, area, { share, open }) =>
          area >= open || area === 0 ? -100 : seen > 0 ? 1 : inRows * inColumns === 0 && a < share * most ? 0 : -100,
        a,
        most,
        seen,
        inRows,
        inColumns,
        area,
        { captured: { share: background, open: maximumArea * rows * columns } },
      );
      return { labels: cast(labels, 'i32') };
    });
  },

  cost({ b, rows, columns }) {
    return { flops: 16 * b * rows * columns, bytes: 12 * b * rows * columns, state: 0 };
  },

  variants: () => [{}],
  page: () => import('./page'),
});

/** 1 from the first to the last place along an axis at which anything is seen, 0 elsewhere; [b, rows, 1] or [b, 1, columns]. */
function extentOf(seen: Tensor, axis: 1 | 2): Tensor<'f32'> {
  const any = max(seen, { axes: [3 - axis] });
  const inside = map(
    (before, after) => (before > 0 && after > 0 ? 1 : 0),
    cumulativeSum(any),
    cumulativeSum(any, { reverse: true }),
  );
  const [b, extent] = any.shape as [number, number];
  return inside.reshape(axis === 1 ? [b, extent, 1] : [b, 1, extent]) as Tensor<'f32'>;
}
