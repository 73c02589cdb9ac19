/**
 * A layer f(w x + b) as a product of features of its inputs and features of its weights.
 * Source: Sehanobish et al. 2023, arXiv 2310.13225, and the authors' code.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, number } from '../../schema';
import { productOfFeatures, productOfWaves } from './features';
import { reference } from './reference';
import { type WaveActivation, wavesOf } from './waves';

const SHAPES = { x: 'b d', w: 'l d', projections: 'r d' } as const;
/** Activations that are sums of waves. */
const WAVES = ['tanh', 'sigmoid', 'gelu'] as const;
const OPTIONAL = { bias: 'l', signs: 'r' } as const;

export const snnk = defineMethod({
  name: 'snnk',
  family: 'kernel',
  summary: 'a layer as one product: random features of its inputs times random features of its weights',
  paper: '2310.13225',
  inputs: SHAPES,
  optional: OPTIONAL,
  integers: ['signs'],
  outputs: { out: 'b l' },
  params: valibot.strictObject({
    activation: choice(
      ['relu', 'cos', 'sin', 'exp', ...WAVES],
      'of the layer; relu is the arc-cosine kernel of order 1, halved',
      'relu',
    ),
    floor: number('least value of the features of relu', { preset: 0 }),
    split: choice(
      ['asymmetric', 'symmetric'],
      'how cos and sin divide the imaginary unit among inputs and weights',
      'asymmetric',
    ),
  }),

  reference(inputs, params, gradOut) {
    check(inputs, params);
    return reference(inputs, params, wavesFor(params.activation, inputs.projections), gradOut);
  },

  forward({ x, w, projections, bias, signs }, params) {
    const floats = { x, w, projections, ...(bias && { bias }) };
    checkFloat32('snnk', floats, {});
    checkContiguous(floats);
    check({ x, w, projections, bias, signs }, params);
    const layer = { x, w, projections, bias };
    const waves = wavesFor(params.activation, projections);
    const { activation, ...rest } = params;
    return {
      out: x.runtime.scope(() =>
        waves
          ? productOfWaves(layer, waves)
          : productOfFeatures(layer, { activation: activation as Exclude<typeof activation, WaveActivation>, ...rest }),
      ) as Tensor,
    };
  },

  cost({ b, d, l, r }, { activation }) {
    const features = FEATURES[activation] * r;
    return {
      flops: 2 * (b + l) * r * d + 2 * b * l * features,
      bytes: 4 * (b * d + l * d + r * d + b * l),
      state: 4 * l * features,
    };
  },
  variants: () => [{}, { activation: 'cos' }, { activation: 'exp' }, { activation: 'gelu' }],
  page: () => import('./page'),
});

/** Real features for each projection, without a bias; with one those of waves are sines and cosines, of gelu ones too. */
const FEATURES = { relu: 1, exp: 1, cos: 2, sin: 2, tanh: 1, sigmoid: 1, gelu: 1 } as const;

const wavesFor = (activation: string, projections: { readonly shape: readonly number[] }) =>
  WAVES.includes(activation as WaveActivation)
    ? wavesOf(activation as WaveActivation, projections.shape[0] as number)
    : undefined;

type Given = Readonly<Partial<Record<string, { readonly shape: readonly number[]; readonly dtype: string }>>>;

function check(inputs: Given, { activation, split }: { readonly activation: string; readonly split: string }): void {
  const given = Object.entries(inputs).flatMap(([name, each]) => (each ? [[name, each] as const] : []));
  const specs = { ...SHAPES, ...OPTIONAL } as Readonly<Record<string, string>>;
  bindShapes(
    Object.fromEntries(given.map(([name]) => [name, specs[name] as string])),
    Object.fromEntries(given.map(([name, { shape }]) => [name, [...shape]])),
  );
  if (inputs.bias && activation === 'relu')
    throw new ParameterError('activation relu takes no bias: it is one more column of x (of ones), w and projections');
  if (inputs.signs && activation !== 'cos' && activation !== 'sin')
    throw new ParameterError(`signs are an input of the activations cos and sin, got ${activation}`);
  if (split === 'symmetric' && WAVES.includes(activation as WaveActivation))
    throw new ParameterError(`split symmetric is of the activations cos and sin, got ${activation}`);
}
