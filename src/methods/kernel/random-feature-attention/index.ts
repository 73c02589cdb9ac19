/**
 * The features of one layer of attention whose queries and keys stay random: what its trained values are multiplied by.
 * Source: Fu, Guo, Bai, Mei 2023, arXiv 2307.11353; reconstructed where the README says so.
 */
import * as valibot from 'valibot';
import { ShapeError } from '../../../errors';
import { concat, contiguous } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { add, multiply, relu, sigmoid } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { softmax } from '../../../ops/softmax';
import { bindShapes, formatShape, type Shape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, flag } from '../../schema';
import { reference } from './reference';

const SHAPES = { query: 'b d', keys: 'b n d', weights: 'r w w' } as const;

export const randomFeatureAttention = defineMethod({
  name: 'random-feature-attention',
  family: 'kernel',
  short: 'rfa',
  summary: 'features of one attention layer with random queries and keys: averages of keys, weighted by each head',
  paper: '2307.11353',
  inputs: SHAPES,
  outputs: { out: 'b r w' },
  params: valibot.strictObject({
    biased: flag('whether scores begin from the product of query and key', false),
    activation: choice(
      ['relu', 'softmax', 'sigmoid'],
      'of scores; relu and sigmoid are divided by the number of keys',
      'relu',
    ),
  }),

  reference(inputs, params, gradOut) {
    check(inputs);
    return reference(inputs, params, gradOut);
  },

  forward({ query, keys, weights }, { biased, activation }) {
    checkFloat32('random-feature-attention', { query, keys, weights }, {});
    checkContiguous({ query, keys, weights });
    const { b, n, r, w } = check({ query, keys, weights });
    const { runtime } = query;
    return runtime.scope(() => {
      const asked = withOne(query);
      const points = withOne(keys);
      const heads = contiguous((biased ? add(weights, identity(query, w)) : weights).permute([1, 0, 2])).reshape([
        w,
        r * w,
      ]);
      const directions = matmul(asked, heads).reshape([b, r, w]);
      const scores = matmul(directions, points, { transposeB: true });
      const shares = activation === 'softmax' ? softmax(scores) : (activation === 'relu' ? relu : sigmoid)(scores);
      const sums = matmul(shares, points);
      return { out: activation === 'softmax' ? sums : multiply(sums, runtime.tensor([1 / n], [])) };
    });
  },

  cost({ b, n, d, r }) {
    const w = d + 1;
    return {
      flops: b * r * (2 * w * w + 4 * n * w),
      bytes: 4 * (b * (n + 1) * d + r * w * w + b * r * w),
      state: 0,
    };
  },
  variants: () => [{}, { biased: true }, { activation: 'softmax' }],
  page: () => import('./page'),
});

/** x [..., d] with a 1 behind each row. */
function withOne(x: Tensor): Tensor {
  const ones = x.runtime.ones([...x.shape.slice(0, -1), 1]);
  return concat([x as Tensor<'f32'>, ones], x.rank - 1);
}

/** Ones on the diagonal, but for the last: the 1 that stands behind points does not count. */
function identity({ runtime }: Tensor, w: number): Tensor {
  const values = new Float32Array(w * w);
  for (let at = 0; at < w - 1; at++) values[at * (w + 1)] = 1;
  return runtime.tensor(values, [w, w]);
}

function check(inputs: Readonly<Record<keyof typeof SHAPES, { readonly shape: Shape }>>) {
  const { query, keys, weights } = inputs;
  const extents = bindShapes(SHAPES, { query: query.shape, keys: keys.shape, weights: weights.shape });
  const { d, w } = extents as Readonly<Record<'d' | 'w', number>>;
  if (w !== d + 1)
    throw new ShapeError(
      `weights must have shape [r, d + 1, d + 1], d + 1 = ${d + 1} here, got ${formatShape(weights.shape)}`,
    );
  return extents as Readonly<Record<'b' | 'n' | 'd' | 'r' | 'w', number>>;
}
