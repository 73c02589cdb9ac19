/**
 * What regression on random features will err, from the spectrum of its kernel and the coefficients of its target.
 * Source: Simon et al. 2023, arXiv 2311.14646, equations as in the authors' code.
 */
import * as valibot from 'valibot';
import { featureRisk, type Risk } from '../../../kernels';
import { checkFloat32 } from '../../../ops/float32';
import { fromValues } from '../../../ops/from-values';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { bindShapes } from '../../../tensor/shape';
import { defineMethod } from '../../define';
import { number } from '../../schema';
import { reference } from './reference';

const SHAPES = { eigenvalues: 'p', coefficients: 'p' } as const;
/** A count of samples or features: real, since formulas hold between whole numbers too. */
const COUNT = { above: 0 } as const;

const features = valibot.optional(
  valibot.pipe(
    valibot.union([
      valibot.pipe(
        valibot.number(),
        valibot.check((value: number) => Number.isFinite(value)),
        valibot.gtValue(0),
      ),
      valibot.null(),
    ]),
    valibot.description('random features; null for infinitely many, the kernel itself'),
  ),
  null,
);

export const randomFeatureRisk = defineMethod({
  name: 'random-feature-risk',
  family: 'kernel',
  short: 'risk',
  summary: 'test and training error of random-feature ridge regression, from a spectrum, in closed form',
  paper: '2311.14646',
  inputs: SHAPES,
  outputs: { out: '2', kappa: '1', gamma: '1' },
  params: valibot.strictObject({
    samples: number('training samples', { ...COUNT, preset: 256 }),
    features,
    ridge: number('added to the kernel matrix as it is', { least: 0, preset: 0.1 }),
    noise: number('variance of the noise on targets', { least: 0, preset: 0 }),
  }),
  gradient: false,

  reference(inputs, params) {
    bindShapes(SHAPES, { eigenvalues: inputs.eigenvalues.shape, coefficients: inputs.coefficients.shape });
    return reference(inputs, params);
  },

  forward({ eigenvalues, coefficients }, params) {
    checkFloat32('random-feature-risk', { eigenvalues, coefficients }, {});
    bindShapes(SHAPES, { eigenvalues: eigenvalues.shape, coefficients: coefficients.shape });
    let found: Risk | undefined;
    const given = { eigenvalues, coefficients };
    const make = (of: (risk: Risk) => number[]) => (values: Readonly<Record<string, HostTensor>>) => {
      const [own, target] = [values.eigenvalues, values.coefficients].map((each) => toFloat64(each as HostTensor));
      found ??= featureRisk(own as Float64Array, target as Float64Array, params);
      return Float64Array.from(of(found));
    };
    return {
      out: fromValues(
        given,
        [2],
        make(({ test, train }) => [test, train]),
      ),
      kappa: fromValues(
        given,
        [1],
        make(({ kappa }) => [kappa]),
      ),
      gamma: fromValues(
        given,
        [1],
        make(({ gamma }) => [gamma]),
      ),
    };
  },

  /** 64 steps of bisection, a quotient and two sums each. */
  cost: ({ p }) => ({ flops: 64 * 3 * p + 12 * p, bytes: 4 * (2 * p + 4), state: 0 }),
  variants: () => [{}, { features: 64 }],
  page: () => import('./page'),
});
