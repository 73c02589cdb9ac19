/**
 * Boxes around the regions of a picture that a predictor's map marks.
 * Source: Shi et al. 2025, arXiv 2509.16944, by the authors' code.
 */
import * as valibot from 'valibot';
import { checkFloat32 } from '../../../ops/float32';
import { toFloat64 } from '../../../tensor/host';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { number, whole } from '../../schema';
import { type BoxSettings, boxesOf } from './boxes';
import { reference } from './reference';

export const roiBoxes = defineMethod({
  name: 'roi-boxes',
  family: 'pipelines',
  summary: 'boxes around the regions of a picture that a map marks',
  paper: '2509.16944',
  inputs: { map: 'b rows columns' },
  outputs: { boxes: 'count 5' },
  promised: ['boxes'],
  params: valibot.strictObject({
    threshold: number('places above it belong to regions; below 0: above minus this share of the largest', {
      least: -1,
      most: 1,
      preset: 0.15,
    }),
    sigma: number('standard deviation of the 3 x 3 blur before, in places', { above: 0, preset: 1 }),
    smallArea: whole('regions of fewer places get a box of 3 x 3 or more', { least: 0, preset: 4 }),
    maximumArea: whole('regions of more places are dropped', { least: 1, preset: 225 }),
  }),
  gradient: false,

  reference,

  forward({ map }, settings) {
    checkFloat32(roiBoxes.name, { map }, {});
    bindShapes({ map: 'b rows columns' }, { map: map.shape });
    return { boxes: found(map, settings) };
  },

  cost({ b, rows, columns }) {
    return { flops: 20 * b * rows * columns, bytes: 4 * b * rows * columns, state: 0 };
  },

  variants: () => [{}],
  page: () => import('./page'),
});

async function found(map: Tensor, settings: BoxSettings): Promise<Tensor<'i32'>> {
  const [b, rows, columns] = map.shape as [number, number, number];
  const logits = toFloat64(await map.toHost());
  const size = rows * columns;
  const boxes = Array.from({ length: b }, (_, batch) =>
    boxesOf(logits.subarray(batch * size, (batch + 1) * size), rows, columns, settings).map((box) => [batch, ...box]),
  ).flat();
  return map.runtime.tensor(Int32Array.from(boxes.flat()), [boxes.length, 5], 'i32');
}
