import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkOptions } from '../ops/check';
import { add, exp, multiply, subtract } from '../ops/map';
import { map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { max, sum } from '../ops/reduce';
import { withDerivative } from '../tape';
import { formatShape, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkRandomOptions, drawDirections, featuresDrawn, RANDOM_OPTIONS, type RandomFeatureOptions } from './draw';
import { defineFeatureMap, type FeatureMap, type FeatureOptions } from './feature-map';
import { largestOfHeads } from './heads';
import { project } from './project';

export interface PositiveOptions extends RandomFeatureOptions {
  /** Half as many directions w as features (an even number), each with its opposite -w, which vary less. Default false. */
  readonly antithetic?: boolean | undefined;
  /**
   * Keeps exponents out of float32's overflow by a factor that makes the largest feature of each row ('rows'), of each
   * head of each batch ('heads', for x [..., tokens, heads, d]) or of the whole tensor ('all') m^-1/2. Normalised attention
   * does not depend on such factors: of rows for queries, of heads for keys. Gradients take the factor as a constant, which
   * is exact for a loss that does not depend on it. Default 'none'.
   */
  readonly stabilise?: 'none' | 'rows' | 'heads' | 'all' | undefined;
}

/**
 * Positive random features (FAVOR+): phi(x)_i = m^-1/2 exp(w_i x - |x|^2 / 2), whose mean of phi(x) . phi(y) over draws is
 * exp(x . y). For the softmax of q . k / sqrt(d) divide q and k by d^1/4 first.
 *
 * The relative variance of an estimate is (exp(|x + y|^2) - 1) / m with independent directions: useful for short vectors,
 * hopeless for those of unit variance and d in the tens.
 *
 * Source: Choromanski et al. 2020, "Rethinking Attention with Performers", arXiv 2009.14794.
 *
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function positive(options: PositiveOptions): FeatureMap {
  checkOptions('positive', options, [...RANDOM_OPTIONS, 'antithetic', 'stabilise']);
  checkRandomOptions(options);
  const { features, antithetic = false, stabilise = 'none' } = options;
  if (typeof antithetic !== 'boolean')
    throw new ParameterError(`antithetic must be true or false, got ${show(antithetic)}`);
  if (antithetic && features % 2 !== 0)
    throw new ParameterError(`features must be even with antithetic: true, got ${features}`);
  if (!['none', 'rows', 'heads', 'all'].includes(stabilise))
    throw new ParameterError(`stabilise must be none, rows, heads or all, got ${show(stabilise)}`);
  const directions = antithetic
    ? withOpposites(drawDirections(features / 2, options))
    : drawDirections(features, options);

  /** What each row's exponents lose, [r, 1]: |x|^2 / 2, the largest exponent where it is taken out, and ln(m) / 2. */
  function offsetsOf(x: Tensor, along: Tensor, control: FeatureOptions, shape: Shape): Tensor<'f32'> {
    const constant = x.runtime.tensor([Math.log(features) / 2], []);
    const ofRows = { axes: [-1], keepDims: true, ...control };
    if (stabilise === 'rows') return add(max(along, ofRows), constant, control);
    const squares = sum(multiply(x, x, control), ofRows);
    const halves = multiply(squares, x.runtime.tensor([0.5], []), control);
    if (stabilise === 'none') return add(halves, constant, control);
    const exponents = subtract(max(along, ofRows), halves, control);
    const largest = stabilise === 'heads' ? largestOfHeads(exponents, shape) : max(exponents, control);
    return add(add(halves, largest, control), constant, control);
  }
  return defineFeatureMap({
    name: 'positive',
    features: featuresDrawn('positive', options),
    forward(x, control, shape) {
      if (stabilise === 'heads' && shape.length < 3)
        throw new ShapeError(
          `x must have shape [..., tokens, heads, d] with stabilise heads, got ${formatShape(shape)}`,
        );
      // The gradient is that of unstabilised features times the factor; it needs x and phi(x), which are kept anyway.
      const phi = withDerivative(
        (x) => {
          const along = project(x, directions, control);
          return exp(subtract(along, offsetsOf(x, along, control, shape), control), control);
        },
        ({ inputs: [x], results, gradients }) => {
          const byExponents = multiply(results, gradients as Tensor);
          const byAlong = matmul(byExponents, x.runtime.tensor(directions, [features, x.shape[1] as number]));
          const sums = sum(byExponents, { axes: [-1], keepDims: true });
          return [subtract(byAlong, multiply(x, sums))];
        },
      );
      return phi(x);
    },
  });
}

/** Natural logarithms of the features, unstabilised: for sums over tokens that come in parts, whose largest is not known yet. */
export function positiveLogarithms(options: RandomFeatureOptions): FeatureMap {
  checkRandomOptions(options);
  const { features } = options;
  const directions = drawDirections(features, options);
  return defineFeatureMap({
    name: 'positiveLogarithms',
    features: featuresDrawn('positiveLogarithms', options),
    forward(x, control) {
      const squares = sum(multiply(x, x, control), { axes: [-1], keepDims: true, ...control });
      return map(
        (along, squares, { constant }) => along - squares / 2 - constant,
        ...([project(x, directions, control), squares] as const),
        { captured: { constant: Math.log(features) / 2 }, ...control },
      ) as Tensor<'f32'>;
    },
  });
}

function withOpposites(directions: Float32Array): Float32Array {
  return new Float32Array([...directions, ...directions.map((value) => -value)]);
}
