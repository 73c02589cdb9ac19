/**
 * The enhanced linear attention of L2ViT: ReLU features, denominators that are at least 100, and a factor for each head
 * on the output. The local concentration module that follows it in a block is in `local-concentration.ts`.
 * Sources: Zheng 2025, arXiv 2501.16182, section 4.1; the minimum and the factor's start as in the author's code.
 */
import * as valibot from 'valibot';
import { relu } from '../../../feature-maps';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention } from '../../../ops/linear-attention';
import { map } from '../../../ops/map/map';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { number } from '../../schema';
import { pairProducts, rowsAt } from '../../weights';
import { type L2vitInputs, reference } from './reference';

export const l2vit = defineMethod({
  name: 'l2vit',
  family: 'linear',
  summary: 'linear attention over ReLU features with denominators that are at least a minimum',
  paper: '2501.16182',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: { tau: 'h' },
  outputs: { out: 'b n h e', denominator: 'b n h' },
  params: valibot.strictObject({
    minimum: number('denominators below become it; 0 for none', { least: 0, preset: 100 }),
    scale: number('factor on the output where no tau is given; else 1 / sqrt(d)'),
  }),
  isCausal: () => false,
  needsTraining: true,

  reference,

  forward(inputs: L2vitInputs<Tensor>, params, control = {}) {
    checkInputs(inputs);
    return inputs.q.runtime.scope(() => {
      const { q, k, v, tau } = inputs;
      const [b, n, h, d] = q.shape as [number, number, number, number];
      const settings = { normalise: true, epsilon: GUARD, ...control };
      const { out: means, denominator } = linearAttention(relu.forward(q), relu.forward(k), v, settings);
      const sums = (denominator as Tensor).reshape([b, n, h, 1]);
      const { minimum, scale = 1 / Math.sqrt(d) } = params;
      const factors = tau ? tau.reshape([h, 1]) : q.runtime.tensor([scale], []);
      // Where the sum is below the minimum, this is what divides.
      const out = map(
        (mean, sum, factor, { least }) => mean * factor * Math.min(sum / least, 1),
        means,
        sums,
        factors,
        {
          captured: { least: Math.max(minimum, GUARD) },
          ...control,
        },
      );
      return { out, denominator: denominator as Tensor };
    });
  },

  layer({ heads, d }, { scale = 1 / Math.sqrt(d) }) {
    return {
      parameters: { tau: { shape: [heads], initial: { value: scale } } },
      inputs: (_, __, { tau }) => ({ tau: tau as Tensor }),
    };
  },

  cost({ b, n, m, h, g, d, e }) {
    const features = b * d * (n * h + m * g);
    return {
      // States and sums of keys; outputs and denominators; for each row the minimum and the factor, and their product.
      flops: features + b * m * g * (2 * d * e + d) + b * n * h * (2 * d * e + 2 * d + 3 + e),
      bytes: 4 * b * (n * h * (d + e + 1) + m * g * (d + e)),
      state: 4 * b * h * d * (e + 1),
    };
  },

  weights({ q, k }, _, queries) {
    return pairProducts({ q: relu.forward(rowsAt(q, queries)), k: relu.forward(k) });
  },

  variants: () => [{}, { minimum: 1 }],
  page: () => import('./page'),
});

/** Added to denominators, so that a row that meets no key gives zeros; far below any that counts. */
const GUARD = 1e-30;

function checkInputs(inputs: L2vitInputs<Tensor>): void {
  checkFloat32(l2vit.name, { ...inputs }, {});
  checkContiguous({ ...inputs });
  const { q, k, v, tau } = inputs;
  const specs: Record<string, string> = { ...l2vit.inputs, ...(tau && l2vit.optional) };
  bindShapes(specs, { q: q.shape, k: k.shape, v: v.shape, ...(tau && { tau: tau.shape }) });
}
