/**
 * The enhanced linear attention of L2ViT: ReLU features, denominators that are at least 100, and a factor for each head
 * on the output. The local concentration module that follows it in a block is in `local-concentration.ts`.
 * Sources: Zheng 2025, arXiv 2501.16182, section 4.1; the minimum and the factor's start as in the author's code.
 */
import * as valibot from 'valibot';
import { relu } from '../../../feature-maps';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention';
import { add, multiply, reciprocal, relu as reluOf, step, subtract } from '../../../ops/map';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { hostTensor, toFloat64 } from '../../../tensor/host';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { float32 } from '../../schema';
import { linearWeights } from '../../weights';
import { type L2vitInputs, type L2vitParams, reference } from './reference';

export const l2vit = defineMethod({
  name: 'l2vit',
  family: 'linear',
  summary: 'linear attention over ReLU features with denominators that are at least a minimum',
  paper: { title: 'The Linear Attention Resurrection in Vision Transformer', arxiv: '2501.16182', year: 2025 },
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: { tau: 'h' },
  outputs: { out: 'b n h e', denominator: 'b n h' },
  params: valibot.strictObject({
    minimum: valibot.optional(
      valibot.pipe(
        valibot.number(),
        float32(),
        valibot.minValue(0),
        valibot.description('denominators below become it; 0 for none'),
      ),
      100,
    ),
    scale: valibot.optional(
      valibot.pipe(
        valibot.number(),
        float32(),
        valibot.description('factor on the output where no tau is given; else 1 / sqrt(d)'),
      ),
    ),
  }),
  isCausal: () => false,
  needsTraining: true,

  reference,

  forward(inputs: L2vitInputs<Tensor>, params, control = {}) {
    checkInputs(inputs);
    return inputs.q.runtime.scope(() => {
      const { ratios, factor, denominator } = attend(inputs, params, control);
      const out = multiply(ratios, factor);
      return { out, denominator: denominator.reshape(denominator.shape.slice(0, 3)) };
    });
  },

  backward(inputs: L2vitInputs<Tensor>, _, gradOut, params, control = {}) {
    const { q, k, v, tau } = inputs;
    checkInputs({ ...inputs, gradOut });
    return q.runtime.scope(() => {
      const attended = attend(inputs, params, control);
      const { phiQ, phiK, ratios, denominator, flatDenominator, share, factor, factors } = attended;
      const gradRatios = multiply(gradOut, factor);
      const gradFactor = sum(multiply(gradOut, ratios), { axes: [-1], keepDims: true });

      // Through the share of the denominator in the larger of it and the minimum: its slope is 1 / minimum below that.
      const { minimum } = params;
      const slope = scalar(q, minimum > 0 ? 1 / Math.max(minimum, GUARD) : 0);
      const below = step(subtract(scalarLike(denominator, minimum), denominator));
      const byShare = multiply(multiply(gradFactor, factors), slope);
      const gradDenominator = multiply(byShare, below);
      const ones = q.runtime.tensor(new Float32Array(v.size / (v.shape[3] as number)).fill(1), onesOf(v));

      const settings = { normalise: true, epsilon: GUARD, ...control };
      const through = { gradOut: gradRatios, out: ratios, denominator: flatDenominator };
      const main = linearAttentionBackward(phiQ, phiK, v, through, settings);
      const beside = linearAttentionBackward(phiQ, phiK, ones, { gradOut: gradDenominator }, control);
      const gradPhiQ = add(main.gradQ, beside.gradQ);
      const gradPhiK = add(main.gradK, beside.gradK);
      const grads: Record<string, Tensor> = {
        q: relu.backward(q, gradPhiQ),
        k: relu.backward(k, gradPhiK),
        v: main.gradV,
      };
      if (tau) grads.tau = sum(multiply(gradFactor, share), { axes: [0, 1, 3] });
      return grads;
    });
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
    const phi = (x: typeof q) =>
      hostTensor(
        toFloat64(x).map((value) => Math.max(0, value)),
        x.shape,
        'f64',
      );
    return linearWeights({ q: phi(q), k: phi(k) }, queries, { causal: false });
  },

  variants: () => [{}, { minimum: 1 }],
  experiment: () => import('./experiment'),
});

/** Added to denominators, so that a row that meets no key gives zeros; far below any that counts. */
const GUARD = 1e-30;

/** Weighted means of the values, and the factor on each: tau denominator / max(denominator, minimum). */
function attend({ q, k, v, tau }: L2vitInputs<Tensor>, { minimum, scale }: L2vitParams, control: Control) {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const phiQ = relu.forward(q);
  const phiK = relu.forward(k);
  const attended = linearAttention(phiQ, phiK, v, { normalise: true, epsilon: GUARD, ...control });
  const { out: ratios, denominator: flatDenominator } = attended;
  const denominator = (flatDenominator as Tensor<'f32'>).reshape([b, n, h, 1]);
  const least = scalar(q, minimum);
  const above = reluOf(subtract(denominator, least));
  const divisor = add(above, scalar(q, Math.max(minimum, GUARD)));
  const share = multiply(denominator, reciprocal(divisor));
  const factors = tau
    ? tau.reshape([h, 1])
    : q.runtime.tensor(new Float32Array(h).fill(scale ?? 1 / Math.sqrt(d)), [h, 1]);
  const factor = multiply(share, factors);
  return { phiQ, phiK, ratios, denominator, flatDenominator: flatDenominator as Tensor, share, factor, factors };
}

const scalar = (like: Tensor, value: number): Tensor<'f32'> => like.runtime.tensor([value], []);

const scalarLike = ({ runtime, shape, size }: Tensor, value: number): Tensor<'f32'> =>
  runtime.tensor(new Float32Array(size).fill(value), shape);

const onesOf = ({ shape }: Tensor): number[] => [...shape.slice(0, 3), 1];

function checkInputs(inputs: L2vitInputs<Tensor> & { readonly gradOut?: Tensor }): void {
  checkFloat32(l2vit.name, { ...inputs }, {});
  checkContiguous({ ...inputs });
  const { q, k, v, tau } = inputs;
  const specs: Record<string, string> = { ...l2vit.inputs, ...(tau && l2vit.optional) };
  bindShapes(specs, { q: q.shape, k: k.shape, v: v.shape, ...(tau && { tau: tau.shape }) });
}
